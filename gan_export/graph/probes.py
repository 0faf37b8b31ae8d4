"""Compute probes, the images that generators with image inputs are verified with.

A probe is a fixed function of (seed, index, shape).  Like a photograph it has low frequencies (a 5 x 5 lattice,
interpolated), three straight edges, and noise in every pixel; its values are 0 to 255.  It is computed with integers
only, so that every language computes the same values; docs/latent-rng.md defines it.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_export import latents
from gan_export.errors import GanExportError

Bytes = npt.NDArray[np.uint8]

LATTICE = 5  # values along each axis of the low frequencies
EDGES = 3
_IDENTITY = np.arange(65536, dtype=np.int64)
_MOST = 1 << 28  # values per probe: keeps every product below 2^63


def probe_bytes(
    seed: int, indices: npt.NDArray[np.uint64], channels: int, sides: tuple[int, ...], stream: int = 8
) -> Bytes:
    """Return the probes of `indices` (N,) as uint8 (N, channels, *sides).

    sides: the lengths of one to three axes: (T,), (H, W), (D, H, W).
    stream: number of the image's stream of random numbers, one of `latents.STREAM_PROBES`.
    """
    axes = len(sides)
    if not 1 <= axes <= 3 or channels < 1 or min(sides) < 1 or channels * math.prod(sides) > _MOST:
        raise GanExportError(f"probe of {channels} channels and sides {sides}: 1 to 3 sides and 2^28 values at most")
    cells, pixels = LATTICE**axes, math.prod(sides)
    head = channels * cells + EDGES * (axes + 1 + channels)
    result = np.empty((len(indices), channels, *sides), np.uint8)
    for row, index in enumerate(indices):
        one = np.array([index], np.uint64)
        u: Any = latents.draw_table(seed, one, head + channels * pixels, _IDENTITY, stream)[0]
        lattice = u[: channels * cells].reshape(channels, *(LATTICE,) * axes)
        lines = u[channels * cells : head].reshape(EDGES, axes + 1 + channels) - 32768
        noise = u[head:].reshape(channels, *sides) - 32768
        total = _low_frequencies(lattice, sides) + _edges(lines, sides) + (noise >> 3)
        result[row] = np.clip(total, 0, 65535) >> 8
    return result


def _low_frequencies(lattice: Any, sides: tuple[int, ...]) -> Any:
    """Interpolate (C, 5, ...) in 0 .. 65535 linearly at the centers of the pixels, rounded down: (C, *sides)."""
    corners = []
    for side in sides:
        at = (2 * np.arange(side, dtype=np.int64) + 1) * (LATTICE - 1)  # in units of 1 / (2 side) of a cell
        below = np.minimum(at // (2 * side), LATTICE - 2)
        corners.append((below, at - below * 2 * side))
    total: Any = 0
    for above in itertools.product((0, 1), repeat=len(sides)):
        places = np.ix_(*(below + up for (below, _), up in zip(corners, above, strict=True)))
        weight: Any = 1
        for axis, ((_, rest), up, side) in enumerate(zip(corners, above, sides, strict=True)):
            share = rest if up else 2 * side - rest
            weight = weight * share.reshape([-1 if a == axis else 1 for a in range(len(sides))])
        total = total + lattice[(slice(None), *places)] * weight
    return total // math.prod(2 * side for side in sides)


def _edges(lines: Any, sides: tuple[int, ...]) -> Any:
    """Return the sum of half spaces, (C, *sides); each has a slope per axis, an offset, and a step per channel."""
    pixels, axes = math.prod(sides), len(sides)
    total: Any = 0
    for line in lines:
        reach = (line[axes] >> 1) * pixels
        for axis, side in enumerate(sides):
            from_center = (2 * np.arange(side, dtype=np.int64) + 1 - side) * (pixels // side)
            reach = reach + line[axis] * from_center.reshape([-1 if a == axis else 1 for a in range(axes)])
        steps = (line[axes + 1 :] >> 1).reshape(-1, *(1,) * axes)
        total = total + steps * (reach >= 0)
    return total
