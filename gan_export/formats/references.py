"""Values of reference images in a manifest: whole images or every n-th value, bounded when written and when read."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gan_export.errors import GanExportError

MOST_VALUES = 1 << 18
_GRID = 2.0**20  # values are multiples of 2^-20: much finer than any tolerance, coarser than float64's rounding
_BYTES = 4  # of one value, a little-endian int32


@dataclass(frozen=True, slots=True)
class References:
    """Every `step`-th value of concatenated images, each (C, H, W) in row-major order: float64 (n,).

    size: values of one image
    """

    values: npt.NDArray[np.float64]
    step: int
    size: int

    @property
    def images(self) -> int:
        """The number of images that the values come from."""
        return -(-((len(self.values) - 1) * self.step + 1) // self.size)

    def of_first(self, images: int) -> References:
        """Return the references of only the first `images`."""
        return References(self.values[: -(-images * self.size // self.step)], self.step, self.size)

    def of(self, images: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Return the corresponding values of `images` (N, C, H, W), (n,)."""
        return images.reshape(-1)[:: self.step][: len(self.values)]


def step(size: int, count: int) -> int:
    """Return the step between the stored values of `count` images of `size` values; 1 if all are stored.

    It shares no factor with the size, so that all columns and channels are included.
    """
    n = -(-count * size // MOST_VALUES)
    while n > 1 and math.gcd(n, size) > 1:
        n += 1
    return n


def pack(images: npt.NDArray[np.float64]) -> str:
    """Return images (N, C, H, W) as text for a manifest: multiples of 2^-20, which hide the last bits of sums."""
    kept = images.reshape(-1)[:: step(images[0].size, len(images))]
    steps = np.clip(np.rint(kept * _GRID), -(2.0**31), 2.0**31 - 1).astype("<i4")
    return base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode("ascii")


def unpack(text: str, size: int, count: int, *, whole: bool = False) -> References:
    """Return the references that `pack` made of `count` images of `size` values, with memory for at most MOST_VALUES.

    whole: of a manifest of version 1, which has every value; those after the first MOST_VALUES are dropped.
    Raises GanExportError for anything else.
    """
    n = 1 if whole else step(size, count)
    held = -(-count * size // n)
    wanted = min(held, MOST_VALUES)
    try:
        decoder = zlib.decompressobj()
        packed = base64.b64decode(text[: _text_bound()], validate=True)
        raw = decoder.decompress(packed, wanted * _BYTES + 1)
    except (ValueError, binascii.Error, zlib.error):
        raise GanExportError("its manifest's reference images can't be read") from None
    if len(raw) < wanted * _BYTES or (wanted == held and len(raw) > wanted * _BYTES):
        raise GanExportError("its manifest's reference images are not of the size that it states")
    values = np.frombuffer(raw[: wanted * _BYTES], "<i4").astype(np.float64) / _GRID
    return References(values, n, size)


def _text_bound() -> int:
    """Return the maximum number of characters, a multiple of four, of MOST_VALUES values that compress badly."""
    packed = MOST_VALUES * _BYTES + (MOST_VALUES * _BYTES >> 10) + 64  # zlib adds less than a thousandth
    return 4 * -(-packed // 3)
