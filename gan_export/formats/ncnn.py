"""ncnn: a .param text, the weights in a .bin and the manifest in a file of its own, both beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gan_export.formats.base import Format, bin_beside, manifest_path
from gan_export.formats.bounds import FLOAT32, FP16
from gan_export.formats.probe import Probe

IMAGE_IN, IMAGE_OUT = "data", "output"  # the blobs of a generator of images; others are in0, in1, ... and out0, ...
_MAGIC = b"7767517\n"


def _detect(probe: Probe) -> bool:
    return probe.head.startswith(_MAGIC)


def _manifest(path: Path) -> bytes | None:
    beside = manifest_path(path)
    return beside.read_bytes() if beside.is_file() else None


def _hashed(path: Path) -> Mapping[str, Path]:
    return {".bin": path.with_suffix(".bin"), ".manifest.json": manifest_path(path)}


NCNN = Format(
    name="ncnn",
    exporter="ncnn",
    detect=_detect,
    manifest=_manifest,
    tolerances={"fp32": FLOAT32, "fp16": FP16},
    beside=bin_beside,
    hashed=_hashed,
    holder=manifest_path,
)
