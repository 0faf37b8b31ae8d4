"""Benchmark generators in fresh processes that take turns; only backends whose images are verified get a speed."""
