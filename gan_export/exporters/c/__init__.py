"""Export a lowered generator as C source: layers become functions, values get offsets in one workspace."""
