"""Define BatchNorm in evaluation mode, and the affine map per channel that can replace it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gan_export.graph.layers.base import Shape, require


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """BatchNorm in evaluation mode: (x - running_mean) / sqrt(running_var + eps) x weight + bias, per channel.

    Takes (C,), (C, L), (C, H, W) or (C, D, H, W).  Without `affine` the file has no weight and bias.
    """

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    channels: int
    eps: float = 1e-5
    affine: bool = True

    def parameters(self) -> dict[str, Shape]:
        c = (self.channels,)
        return {**({"weight": c, "bias": c} if self.affine else {}), "running_mean": c, "running_var": c}

    def output_shape(self, *inputs: Shape) -> Shape:
        return _same(self.channels, inputs[0])

    def flops(self, *inputs: Shape) -> int:
        return 2 * math.prod(inputs[0])


@dataclass(frozen=True, slots=True)
class Affine:
    """x × weight + bias, per channel of what a BatchNorm takes.

    `lower` puts it in the place of a BatchNorm that can't be folded into the layer before it.
    """

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    channels: int

    def parameters(self) -> dict[str, Shape]:
        return {"weight": (self.channels,), "bias": (self.channels,)}

    def output_shape(self, *inputs: Shape) -> Shape:
        return _same(self.channels, inputs[0])

    def flops(self, *inputs: Shape) -> int:
        return 2 * math.prod(inputs[0])


def _same(channels: int, x: Shape) -> Shape:
    require(len(x) in (1, 2, 3, 4) and x[0] == channels, f"takes {channels} channels, is given {x}")
    return x
