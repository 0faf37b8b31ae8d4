"""Specs and signatures of generators, BatchNorm folding, and the conversion of a spec to a PyTorch module."""
