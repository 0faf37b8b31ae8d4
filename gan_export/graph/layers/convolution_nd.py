"""Define convolutions, transposed convolutions and upsampling of signals (C, L) and of volumes (C, D, H, W).

Kernels, strides, paddings and factors have one number per dimension: their length, 1 or 3, is the number of dimensions.
Images have `Conv`, `ConvTranspose` and `Upsample`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gan_export.graph.layers.base import Shape, no_parameters, require, weight_and_bias
from gan_export.graph.words import InterpolationMode

Sides = tuple[int, ...]  # a number per dimension, in the order of the shape: (L,) or (D, H, W)


@dataclass(frozen=True, slots=True)
class ConvTransposeNd:
    """torch.nn.ConvTranspose1d or ConvTranspose3d, one group, no dilation.  weight (in, out, *kernel), bias (out,)."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    in_channels: int
    out_channels: int
    kernel: Sides
    stride: Sides
    padding: Sides
    output_padding: Sides
    bias: bool = True

    def parameters(self) -> dict[str, Shape]:
        weight = (self.in_channels, self.out_channels, *self.kernel)
        return weight_and_bias(weight, self.out_channels, self.bias)

    def output_shape(self, *inputs: Shape) -> Shape:
        _takes(self.in_channels, self.kernel, x := inputs[0])
        _fits(self.kernel, self.stride, self.padding, self.output_padding)
        require(all(0 <= e < s for e, s in zip(self.output_padding, self.stride, strict=True)), "bad output padding")
        settings = zip(x[1:], self.kernel, self.stride, self.padding, self.output_padding, strict=True)
        return (self.out_channels, *((d - 1) * s + k - 2 * p + e for d, k, s, p, e in settings))

    def flops(self, *inputs: Shape) -> int:
        bias = math.prod(self.output_shape(*inputs)) if self.bias else 0
        return 2 * math.prod(inputs[0]) * self.out_channels * math.prod(self.kernel) + bias


@dataclass(frozen=True, slots=True)
class ConvNd:
    """torch.nn.Conv1d or Conv3d with zero padding, one group, no dilation.  weight (out, in, *kernel), bias (out,)."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    in_channels: int
    out_channels: int
    kernel: Sides
    stride: Sides
    padding: Sides
    bias: bool = True

    def parameters(self) -> dict[str, Shape]:
        weight = (self.out_channels, self.in_channels, *self.kernel)
        return weight_and_bias(weight, self.out_channels, self.bias)

    def output_shape(self, *inputs: Shape) -> Shape:
        _takes(self.in_channels, self.kernel, x := inputs[0])
        _fits(self.kernel, self.stride, self.padding)
        settings = zip(x[1:], self.kernel, self.stride, self.padding, strict=True)
        return (self.out_channels, *((d + 2 * p - k) // s + 1 for d, k, s, p in settings))

    def flops(self, *inputs: Shape) -> int:
        per_value = 2 * self.in_channels * math.prod(self.kernel) + self.bias
        return math.prod(self.output_shape(*inputs)) * per_value


@dataclass(frozen=True, slots=True)
class UpsampleNd:
    """torch.nn.Upsample: each dimension is `factor` times as long.  Linear mode has align_corners=False."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    factor: Sides
    mode: InterpolationMode = "nearest"

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        x = inputs[0]
        require(len(self.factor) in (1, 3) and min(self.factor) >= 1, f"factors of {self.factor}")
        require(len(x) == 1 + len(self.factor), f"takes {len(self.factor)}-D values, is given {x}")
        return (x[0], *(d * f for d, f in zip(x[1:], self.factor, strict=True)))

    def flops(self, *inputs: Shape) -> int:
        # linear: as many interpolations of 2 operations as there are edges to a cell's corners, and 1 for the weight
        interpolations = 2 ** len(self.factor) - 1
        return (2 * interpolations + 1) * math.prod(self.output_shape(*inputs)) if self.mode == "linear" else 0


def _takes(channels: int, kernel: Sides, x: Shape) -> None:
    axes = len(kernel)
    require(axes in (1, 3) and min(kernel) >= 1, f"a kernel of {kernel}")
    sizes = "C, L" if axes == 1 else "C, D, H, W"
    fits = len(x) == 1 + axes and x[0] == channels
    require(fits, f"takes ({sizes}) with {channels} channels, is given {x}")


def _fits(kernel: Sides, stride: Sides, *others: Sides) -> None:
    require(all(len(s) == len(kernel) for s in (stride, *others)), "stride and padding of another number of dimensions")
    require(min(stride) >= 1 and all(min(s) >= 0 for s in others), "bad stride")
