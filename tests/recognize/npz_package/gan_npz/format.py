"""An .npz file of the lowered weights by name, the spec and the manifest, each text as bytes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from gan_export.formats.archives import read_entry, zip_sums
from gan_export.formats.base import Format
from gan_export.formats.bounds import FLOAT32
from gan_export.formats.probe import Probe

SPEC, MANIFEST = "gan_npz.spec", "gan_npz.manifest"


def _detect(probe: Probe) -> bool:
    return {f"{SPEC}.npy", f"{MANIFEST}.npy"} <= probe.zip_names


def _manifest(path: Path) -> bytes | None:
    held = read_entry(path, f"{MANIFEST}.npy")
    return None if held is None else bytes(np.load(io.BytesIO(held), allow_pickle=False))


NPZ = Format("npz", "npz", _detect, _manifest, {"fp32": FLOAT32}, sums=zip_sums)
