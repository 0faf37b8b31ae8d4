"""An export against its checkpoint: values, layers, BatchNorm."""
