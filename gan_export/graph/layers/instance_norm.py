"""Define normalization by the statistics of each image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gan_export.graph.layers.base import Shape, require, takes_channels


@dataclass(frozen=True, slots=True)
class InstanceNorm:
    """torch.nn.InstanceNorm2d: (x - mean) / sqrt(variance + eps) x weight + bias, per channel of (C, H, W).

    The variance is biased.  A BatchNorm in training mode computes the same for a batch of one image.  Without `affine`
    there are no weight and bias.
    """

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    channels: int
    eps: float = 1e-5
    affine: bool = False

    def parameters(self) -> dict[str, Shape]:
        return {"weight": (self.channels,), "bias": (self.channels,)} if self.affine else {}

    def output_shape(self, *inputs: Shape) -> Shape:
        takes_channels(self.channels, inputs[0])
        require(math.prod(inputs[0][1:]) > 1, "has one value per channel, but its variance needs at least two")
        return inputs[0]

    def flops(self, *inputs: Shape) -> int:
        return (8 if self.affine else 6) * math.prod(inputs[0])
