"""A small generator on disk, in every form that a runtime can load."""

from __future__ import annotations

import functools
import tempfile
import warnings
from pathlib import Path

from gan_export import checkpoint, runtimes
from gan_export.bench.models import BuiltIn, write_checkpoint
from gan_export.exporters import EXPORTERS
from gan_export.exporters.base import Options, unavailable_reason

SMALL = BuiltIn("small", "narrow classic", "model", (10, 32, 16, 8, 1), bias=True)


_FOLDER = tempfile.TemporaryDirectory(prefix="gan-small-")  # kept until the test process ends


class SmallFiles(dict[str, Path]):
    """The files of the core formats, and of other formats once they are first accessed."""

    def __missing__(self, kind: str) -> Path:
        for exporter in EXPORTERS:
            if (
                runtimes.find(exporter.runtime).format == kind
                and kind not in ("gan", "c")
                and not unavailable_reason(exporter)
            ):
                self[kind] = Path(_FOLDER.name) / f"small{exporter.suffix}"
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    exporter.write(checkpoint.read(self["checkpoint"]), self[kind], Options())
                return self[kind]
        raise KeyError(kind)


@functools.cache
def small_files() -> SmallFiles:
    """Return the files by format; "checkpoint" is the one that the others are made from."""
    made = SmallFiles(checkpoint=Path(_FOLDER.name) / "small.pth")
    write_checkpoint(SMALL, made["checkpoint"])
    for exporter in EXPORTERS:
        kind = runtimes.find(exporter.runtime).format
        if exporter.core and kind not in ("gan", "c") and not unavailable_reason(exporter):
            assert made[kind].exists()
    return made
