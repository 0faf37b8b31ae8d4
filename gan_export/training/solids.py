"""Draw solids for training: spheres, boxes, tori, cones and unions of two of them, which stand upright.

Volume i is a function of i and the side.  A solid is a signed distance; its volume is soft at the surface, so that the
surface lies where the values are half of 255.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gan_export.training.decoding import Bytes

CLASSES = ("sphere", "box", "torus", "cone", "union")
COUNT = 8192  # of different volumes
TILT = 20  # degrees, at most, between a solid's axis and D, the vertical axis of previews

Doubles = npt.NDArray[np.float64]
Draws = np.random.Generator


@dataclass(frozen=True)
class Solids:
    """The training set "solids": volume i is of class i mod 5; each is drawn when it is first read.

    They are kept if all of them take at most `memory` GiB.
    """

    side: int
    memory: float = 0.0
    name: str = "solids"
    skipped: tuple[str, ...] = ()
    labels: npt.NDArray[np.int64] | None = field(
        default_factory=lambda: np.arange(COUNT, dtype=np.int64) % len(CLASSES)
    )
    _kept: dict[int, Bytes] = field(default_factory=dict, repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return 1, self.side, self.side, self.side

    def __len__(self) -> int:
        return COUNT

    def expect(self, indices: npt.NDArray[np.int64]) -> None:
        pass

    def read(self, indices: npt.NDArray[np.int64]) -> Bytes:
        """Return the volumes at `indices`, uint8 (n, 1, S, S, S)."""
        return np.stack([self._volume(int(i))[None] for i in indices])

    def _volume(self, index: int) -> Bytes:
        if (volume := self._kept.get(index)) is None:
            volume = draw(index, self.side)
            if COUNT * self.side**3 <= self.memory * 2**30:
                self._kept[index] = volume
        return volume


def draw(index: int, side: int) -> Bytes:
    """Return volume `index`, uint8 (side, side, side): 255 inside, 0 outside, and a step of one voxel between."""
    random = np.random.Generator(np.random.Philox(key=[index, side]))
    at = (np.arange(side) + 0.5) / side * 2 - 1
    points = np.stack(np.meshgrid(at, at, at, indexing="ij")).reshape(3, -1)
    kind = CLASSES[index % len(CLASSES)]
    if kind == "union":
        pair = random.permutation(len(_DISTANCES))[:2]
        away = 0.3 * _turn(random)[0]
        distance = np.minimum(
            _turned(_DISTANCES[pair[0]], random, points, away, 0.75),
            _turned(_DISTANCES[pair[1]], random, points, -away, 0.75),
        )
    else:
        distance = _turned(_DISTANCES[CLASSES.index(kind)], random, points, random.uniform(-0.1, 0.1, 3), 1.0)
    inside = np.clip(0.5 - distance * side / 2, 0, 1)
    return np.floor(inside * 255 + 0.5).astype(np.uint8).reshape(side, side, side)


def _turned(
    solid: Callable[[Draws, Doubles], Doubles], random: Draws, points: Doubles, center: Doubles, scale: float
) -> Doubles:
    """Return the signed distance of a solid of `scale` at `center`, turned at random, at points (3, P)."""
    local = _turn(random) @ (points - center[:, None]) / scale
    return solid(random, local) * scale


def _turn(random: Draws) -> Doubles:
    """Return a random rotation (3, 3) from D, H, W to a solid's x, y, z: turned around D, then tilted a little."""
    turn, tilt = random.uniform(0, 2 * np.pi), np.radians(TILT) * random.uniform(-1, 1)
    x = np.array([0.0, np.cos(turn), np.sin(turn)])
    y = np.array([0.0, -np.sin(turn), np.cos(turn)])
    z = np.array([1.0, 0.0, 0.0])
    return np.stack([x, np.cos(tilt) * y - np.sin(tilt) * z, np.sin(tilt) * y + np.cos(tilt) * z])


def _sphere(random: Draws, p: Doubles) -> Doubles:
    distance: Doubles = np.linalg.norm(p, axis=0) - random.uniform(0.45, 0.75)
    return distance


def _box(random: Draws, p: Doubles) -> Doubles:
    q = np.abs(p) - random.uniform(0.3, 0.55, 3)[:, None]
    distance: Doubles = np.linalg.norm(np.maximum(q, 0), axis=0) + np.minimum(q.max(0), 0)
    return distance


def _torus(random: Draws, p: Doubles) -> Doubles:
    ring: Doubles = np.hypot(np.hypot(p[0], p[1]) - random.uniform(0.48, 0.58), p[2])
    return ring - random.uniform(0.18, 0.26)


def _cone(random: Draws, p: Doubles) -> Doubles:
    """The distance to a cone's side and base, the larger of both: exact inside, and near the surface."""
    height, radius = random.uniform(1.0, 1.3), random.uniform(0.45, 0.65)
    slant = np.hypot(height, radius)
    side: Doubles = (np.hypot(p[0], p[1]) * height + (p[2] - height / 2) * radius) / slant
    distance: Doubles = np.maximum(side, -height / 2 - p[2])
    return distance


_DISTANCES = (_sphere, _box, _torus, _cone)
