"""One small generator on disk, in every form that a runtime takes."""

from __future__ import annotations

import functools
import tempfile
import warnings
from pathlib import Path

from gan_export import checkpoint, runtimes
from gan_export.bench.models import BuiltIn, write_checkpoint
from gan_export.export import EXPORTERS
from gan_export.export.base import Options, missing

SMALL = BuiltIn("small", "narrow classic", "model", (10, 32, 16, 8, 1), bias=True)


_FOLDER = tempfile.TemporaryDirectory(prefix="gan-small-")  # as long as the test process


@functools.cache
def small_files() -> dict[str, Path]:
    """The format's name -> a file of it; "checkpoint" is what the others are made from."""
    folder = Path(_FOLDER.name)
    made = {"checkpoint": folder / "small.pth"}
    write_checkpoint(SMALL, made["checkpoint"])
    read = checkpoint.read(made["checkpoint"])
    for exporter in EXPORTERS:
        kind = runtimes.find(exporter.runtime).format
        if kind not in ("gan", "c") and not missing(exporter):
            made[kind] = folder / f"small{exporter.suffix}"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exporter.write(read, made[kind], Options())
    return made
