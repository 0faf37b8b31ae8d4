"""A lowered generator as C source of its own: layers to functions, values to places in one workspace."""
