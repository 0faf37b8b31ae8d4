"""OpenVINO IR: XML with the manifest in its rt_info, the weights in a .bin beside it."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path

from gan_export.formats.base import LARGEST_TEXT, Format, bin_beside
from gan_export.formats.bounds import FLOAT32, FP16, INT8
from gan_export.formats.probe import Probe

OPENVINO_KEYS = ("gan-export", "manifest")  # of rt_info: an element in an element


def _detect(probe: Probe) -> bool:
    return probe.head.startswith(b"<?xml") and _found(probe.path) is not None


def _manifest(path: Path) -> bytes | None:
    return _found(path) or None


def _found(path: Path) -> bytes | None:
    """Return an IR's manifest, b"" if it has none, None for other XML; searched as text, so no entity is expanded."""
    with open(path, "rb") as f:
        text = f.read(LARGEST_TEXT)
    if not re.match(rb"<\?xml[^>]*\?>\s*<net ", text):
        return None
    inside = re.search(rb"<gan-export>\s*<manifest value=\"([^\"]*)\"", text)
    return html.unescape(inside[1].decode("utf-8", "replace")).encode() if inside else b""


def _hashed(path: Path) -> Mapping[str, Path]:
    return {".bin": path.with_suffix(".bin")}


OPENVINO = Format(
    name="openvino",
    exporter="openvino",
    detect=_detect,
    manifest=_manifest,
    tolerances={"fp32": FLOAT32, "fp16": FP16, "int8": INT8},
    beside=bin_beside,
    hashed=_hashed,
)
