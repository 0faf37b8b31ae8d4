"""A package that brings a format to gan-export: what its files are, what writes them, what runs them."""

from __future__ import annotations


def register() -> None:
    """Register the format, its runtime, and an evaluator."""
    import gan_export
    from gan_npz import evaluator, exporter, format, runtime

    gan_export.register_format(format.NPZ, exporter.NpzExporter())
    gan_export.register_runtime(runtime.NpzRuntime())
    gan_export.register_evaluator("brightness", evaluator.Brightness)
