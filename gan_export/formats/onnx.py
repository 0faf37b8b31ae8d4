"""ONNX: the manifest is an entry of the model's metadata; weights can be in other files of the same folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gan_export.formats import protobuf
from gan_export.formats.base import KEY, Format
from gan_export.formats.bounds import FLOAT32, FP16, INT8
from gan_export.formats.probe import Probe


def _detect(probe: Probe) -> bool:
    if not probe.head.startswith(b"\x08"):
        return False
    with open(probe.path, "rb") as f:
        return protobuf.looks_like_onnx(f)


def _manifest(path: Path) -> bytes | None:
    with open(path, "rb") as f:
        return dict(protobuf.onnx_metadata(f)).get(KEY)


def _hashed(path: Path) -> Mapping[str, Path]:
    protobuf.check_external_data(path)
    return {name: path.parent / name for name in protobuf.external_files(path) if name != path.name}


ONNX = Format(
    name="onnx",
    exporter="onnx",
    detect=_detect,
    manifest=_manifest,
    tolerances={"fp32": FLOAT32, "fp16": FP16, "int8": INT8},
    beside=protobuf.external_files,
    hashed=_hashed,
)
