"""Define grouped convolutions, including depthwise ones (one group per channel)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gan_export.graph.layers.base import Shape, require, takes_channels, weight_and_bias


@dataclass(frozen=True, slots=True)
class GroupedConv:
    """torch.nn.Conv2d with groups, a square kernel, zero padding and stride 1.

    weight (out, in / groups, k, k), bias (out,).
    """

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    in_channels: int
    out_channels: int
    kernel: int
    groups: int
    padding: int = 0
    bias: bool = False

    def parameters(self) -> dict[str, Shape]:
        weight = (self.out_channels, self.in_channels // max(self.groups, 1), self.kernel, self.kernel)
        return weight_and_bias(weight, self.out_channels, self.bias)

    def output_shape(self, *inputs: Shape) -> Shape:
        takes_channels(self.in_channels, x := inputs[0])
        _divide(self.groups, self.in_channels, self.out_channels)
        require(self.padding >= 0, "bad padding")
        grow = 2 * self.padding - self.kernel + 1
        return (self.out_channels, x[1] + grow, x[2] + grow)

    def flops(self, *inputs: Shape) -> int:
        per_value = 2 * self.in_channels // self.groups * self.kernel**2 + self.bias
        return math.prod(self.output_shape(*inputs)) * per_value


@dataclass(frozen=True, slots=True)
class GroupedConvTranspose:
    """torch.nn.ConvTranspose2d with groups, a square kernel and no bias.  weight (in, out / groups, k, k)."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    in_channels: int
    out_channels: int
    kernel: int
    groups: int
    stride: int = 2
    padding: int = 0

    def parameters(self) -> dict[str, Shape]:
        return {"weight": (self.in_channels, self.out_channels // max(self.groups, 1), self.kernel, self.kernel)}

    def output_shape(self, *inputs: Shape) -> Shape:
        takes_channels(self.in_channels, x := inputs[0])
        _divide(self.groups, self.in_channels, self.out_channels)
        require(self.stride >= 1 and self.padding >= 0, "bad stride")
        grow = self.kernel - 2 * self.padding
        return (self.out_channels, (x[1] - 1) * self.stride + grow, (x[2] - 1) * self.stride + grow)

    def flops(self, *inputs: Shape) -> int:
        return 2 * math.prod(inputs[0]) * (self.out_channels // self.groups) * self.kernel**2


def _divide(groups: int, *channels: int) -> None:
    require(groups >= 1 and not any(c % groups for c in channels), f"{groups} groups don't divide its channels")
