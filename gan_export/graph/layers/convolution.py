"""Define convolutions and transposed convolutions of images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gan_export.graph.layers.base import Shape, require, takes_channels, weight_and_bias


@dataclass(frozen=True, slots=True)
class ConvTranspose:
    """torch.nn.ConvTranspose2d with a square kernel, one group, no dilation.  weight (in, out, k, k), bias (out,)."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    output_padding: int = 0
    bias: bool = True

    def parameters(self) -> dict[str, Shape]:
        weight = (self.in_channels, self.out_channels, self.kernel, self.kernel)
        return weight_and_bias(weight, self.out_channels, self.bias)

    def output_shape(self, *inputs: Shape) -> Shape:
        takes_channels(self.in_channels, x := inputs[0])
        step, extra = self.stride, self.output_padding
        require(step >= 1 and self.padding >= 0 and 0 <= extra < max(step, 1), "bad stride")
        grow = self.kernel - 2 * self.padding + extra
        return (self.out_channels, (x[1] - 1) * step + grow, (x[2] - 1) * step + grow)

    def flops(self, *inputs: Shape) -> int:
        bias = math.prod(self.output_shape(*inputs)) if self.bias else 0
        return 2 * math.prod(inputs[0]) * self.out_channels * self.kernel**2 + bias


@dataclass(frozen=True, slots=True)
class Conv:
    """torch.nn.Conv2d with a square kernel, zero padding, one group.  weight (out, in, k, k), bias (out,)."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    bias: bool = True

    def parameters(self) -> dict[str, Shape]:
        weight = (self.out_channels, self.in_channels, self.kernel, self.kernel)
        return weight_and_bias(weight, self.out_channels, self.bias)

    def output_shape(self, *inputs: Shape) -> Shape:
        takes_channels(self.in_channels, x := inputs[0])
        require(self.stride >= 1 and self.padding >= 0, "bad stride")
        sides = [(d + 2 * self.padding - self.kernel) // self.stride + 1 for d in x[1:]]
        return (self.out_channels, *sides)

    def flops(self, *inputs: Shape) -> int:
        return math.prod(self.output_shape(*inputs)) * (2 * self.in_channels * self.kernel**2 + self.bias)
