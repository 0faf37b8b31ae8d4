"""A generator as data, BatchNorm folding, the torch interpreter."""
