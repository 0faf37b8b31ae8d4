"""LiteRT and ExecuTorch: FlatBuffers with the manifest after a marker; finding it needs no FlatBuffers reader."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

from gan_export.formats.base import KEY, Format
from gan_export.formats.bounds import FLOAT32
from gan_export.formats.probe import Probe

MANIFEST_MARKER = KEY.encode() + b"\n"  # followed by the manifest and a zero byte


def _detect_litert(probe: Probe) -> bool:
    return probe.head[4:8] == b"TFL3"


def _detect_executorch(probe: Probe) -> bool:
    return re.fullmatch(rb"ET\d\d", probe.head[4:8]) is not None


def _manifest(path: Path) -> bytes | None:
    """Return the bytes between MANIFEST_MARKER and the next zero byte."""
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(MANIFEST_MARKER)
        end = data.find(b"\0", at)
        return data[at + len(MANIFEST_MARKER) : end] if 0 <= at < end else None


LITERT = Format("litert", "litert", _detect_litert, _manifest, {"fp32": FLOAT32})
EXECUTORCH = Format("executorch", "executorch", _detect_executorch, _manifest, {"fp32": FLOAT32})
