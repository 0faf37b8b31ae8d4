"""Datasets of any size: a plan of shards, drawn by any number of processes or machines, and checkable."""
