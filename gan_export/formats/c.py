"""C source: a folder with the manifest in a file of its own."""

from __future__ import annotations

from pathlib import Path

from gan_export._lib.budget import BudgetError
from gan_export.formats.base import Format, parsed
from gan_export.formats.bounds import FLOAT32, FP16, of_bytes
from gan_export.formats.probe import Probe

C_MANIFEST = "manifest.json"


def _detect(probe: Probe) -> bool:
    try:
        return (probe.path / C_MANIFEST).is_file() and bool(parsed(_manifest(probe.path))["format"] == "c")
    except (OSError, ValueError, KeyError, TypeError, BudgetError):
        return False


def _manifest(path: Path) -> bytes:
    return _holder(path).read_bytes()


def _holder(path: Path) -> Path:
    return path / C_MANIFEST


C = Format(
    name="c",
    exporter="c",
    detect=_detect,
    manifest=_manifest,
    # int8 applies only to the weights, not to the values
    tolerances={"fp32": FLOAT32, "fp16": FP16, "int8": of_bytes(35.0)},
    program="C source, which is compiled and called",
    holder=_holder,
)
