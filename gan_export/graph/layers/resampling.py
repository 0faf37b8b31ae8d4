"""Define pixel shuffling, and downsampling and upsampling by 2 with a blur."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gan_export.graph.layers.base import Shape, no_flops, no_parameters, require, takes_channels


@dataclass(frozen=True, slots=True)
class PixelShuffle:
    """torch.nn.PixelShuffle: (C x factor², H, W) -> (C, H x factor, W x factor)."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    factor: int

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        x, r = inputs[0], self.factor
        require(len(x) == 3 and r >= 1 and x[0] % (r * r) == 0, f"takes a multiple of {r * r} channels, is given {x}")
        return (x[0] // (r * r), x[1] * r, x[2] * r)

    flops = no_flops


@dataclass(frozen=True, slots=True)
class PixelUnshuffle:
    """torch.nn.PixelUnshuffle, the inverse of PixelShuffle: (C, H x factor, W x factor) -> (C x factor², H, W)."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    factor: int

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        x, r = inputs[0], self.factor
        whole = len(x) == 3 and r >= 1 and x[1] % r == 0 and x[2] % r == 0
        require(whole, f"takes sides that are multiples of {r}, is given {x}")
        return (x[0] * r * r, x[1] // r, x[2] // r)

    flops = no_flops


@dataclass(frozen=True, slots=True)
class BlurDown:
    """Downsampling by 2 with a blur: reflection padding 1, then a depthwise 3 x 3 convolution with stride 2.

    filt (C, 1, 3, 3): one filter per channel.  Source: Downsample of CUT (taesungp/contrastive-unpaired-translation),
    in whose checkpoints the filter is a buffer.
    """

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    channels: int

    def parameters(self) -> dict[str, Shape]:
        return {"filt": (self.channels, 1, 3, 3)}

    def output_shape(self, *inputs: Shape) -> Shape:
        takes_channels(self.channels, x := inputs[0])
        require(min(x[1:]) > 1, f"can't mirror a pixel of {x}")
        return (x[0], (x[1] + 1) // 2, (x[2] + 1) // 2)

    def flops(self, *inputs: Shape) -> int:
        return 18 * math.prod(self.output_shape(*inputs))


@dataclass(frozen=True, slots=True)
class BlurUp:
    """Upsampling by 2 with a blur: replication padding 1, then a depthwise 4 x 4 transposed convolution with stride 2.

    filt (C, 1, 4, 4): one filter per channel.  Source: Upsample of CUT, whose transposed convolution has padding 2, and
    which then crops one row and one column on each side.
    """

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    channels: int

    def parameters(self) -> dict[str, Shape]:
        return {"filt": (self.channels, 1, 4, 4)}

    def output_shape(self, *inputs: Shape) -> Shape:
        takes_channels(self.channels, x := inputs[0])
        return (x[0], 2 * x[1], 2 * x[2])

    def flops(self, *inputs: Shape) -> int:
        return 32 * (inputs[0][0] * (inputs[0][1] + 2) * (inputs[0][2] + 2))
