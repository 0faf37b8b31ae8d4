"""Core ML: a package, which is a folder, with the manifest in the metadata of its model."""

from __future__ import annotations

from pathlib import Path

from gan_export._lib.budget import BudgetError
from gan_export.formats import protobuf
from gan_export.formats.base import KEY, Format, parsed
from gan_export.formats.bounds import FLOAT32, FP16
from gan_export.formats.probe import Probe

COREML_FILES, COREML_MODEL = "Manifest.json", "Data/com.apple.CoreML/model.mlmodel"


def _detect(probe: Probe) -> bool:
    try:
        return _holder(probe.path).is_file() and "rootModelIdentifier" in parsed(
            (probe.path / COREML_FILES).read_bytes()
        )
    except (OSError, ValueError, KeyError, TypeError, BudgetError):
        return False


def _manifest(path: Path) -> bytes | None:
    with open(_holder(path), "rb") as f:
        return dict(protobuf.coreml_metadata(f)).get(KEY)


def _holder(path: Path) -> Path:
    return path / COREML_MODEL


COREML = Format(
    name="coreml",
    exporter="coreml",
    detect=_detect,
    manifest=_manifest,
    tolerances={"fp32": FLOAT32, "fp16": FP16},
    holder=_holder,
)
