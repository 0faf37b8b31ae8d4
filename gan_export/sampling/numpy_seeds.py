"""Latents as NVlabs' scripts make them: image by image, each from NumPy's `RandomState` with a seed of its own."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from gan_export.errors import GanExportError, printable

MOST_SEEDS = 1 << 20
_PART = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?", re.ASCII)


def parse_seeds(text: str) -> list[int]:
    """Return the seeds of "0-10,85".  Raises GanExportError for anything else; seeds are 0 to 2^32-1."""
    seeds: list[int] = []
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or last >= 1 << 32:
            raise GanExportError(f"seeds={printable(text, 60)}: numbers and ranges such as 0-10,85, up to 2^32-1")
        if len(seeds) + last - first >= MOST_SEEDS:
            raise GanExportError(f"seeds={printable(text, 60)}: at most {MOST_SEEDS:,}")
        seeds.extend(range(first, last + 1))
    return seeds


def latents_of(seeds: list[int], nz: int) -> npt.NDArray[np.float32]:
    """Return `RandomState(seed).randn(1, nz)` for each seed, rounded to float32 (N, nz)."""
    return np.concatenate([np.random.RandomState(s).randn(1, nz) for s in seeds]).astype(np.float32)
