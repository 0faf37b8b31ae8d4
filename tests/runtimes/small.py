"""One small generator on disk, in every form that a runtime takes."""

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


_FOLDER = tempfile.TemporaryDirectory(prefix="gan-small-")  # as long as the test process


class SmallFiles(dict[str, Path]):
    """The core formats' files, and each other's from when it is first asked for."""

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
    """The format's name -> a file of it; "checkpoint" is what the others are made from."""
    made = SmallFiles(checkpoint=Path(_FOLDER.name) / "small.pth")
    write_checkpoint(SMALL, made["checkpoint"])
    for exporter in EXPORTERS:
        kind = runtimes.find(exporter.runtime).format
        if exporter.core and kind not in ("gan", "c") and not unavailable_reason(exporter):
            assert made[kind].exists()
    return made
