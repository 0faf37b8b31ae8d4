"""Define layers that upsample, concatenate, reshape or crop values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gan_export.graph.layers.base import Shape, no_flops, no_parameters, require
from gan_export.graph.words import UpsampleMode


@dataclass(frozen=True, slots=True)
class Upsample:
    """torch.nn.Upsample: (C, H, W) -> (C, H x factor, W x factor).  Bilinear mode has align_corners=False."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    factor: int = 2
    mode: UpsampleMode = "nearest"

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        x = inputs[0]
        require(len(x) == 3 and self.factor >= 1, f"takes (C, H, W), is given {x}")
        return (x[0], x[1] * self.factor, x[2] * self.factor)

    def flops(self, *inputs: Shape) -> int:
        # bilinear: three interpolations of 2 operations each, and 1 for the weight
        return 7 * math.prod(self.output_shape(*inputs)) if self.mode == "bilinear" else 0


@dataclass(frozen=True, slots=True)
class Concat:
    """torch.cat along the channels, in the order of `inputs`."""

    ARITY: ClassVar[int | None] = None
    name: str
    inputs: tuple[str, ...]

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        x = inputs[0]
        fits = all(len(i) == len(x) and i[1:] == x[1:] and i for i in inputs)
        require(len(inputs) >= 2 and fits, f"can't join {list(inputs)}")
        return (sum(i[0] for i in inputs), *x[1:])

    flops = no_flops


@dataclass(frozen=True, slots=True)
class Reshape:
    """torch.reshape (row-major, C-order) of one image to `shape`."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    shape: Shape

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        require(len(self.shape) in (1, 2, 3, 4), f"gives {self.shape}")
        require(math.prod(inputs[0]) == math.prod(self.shape), f"{inputs[0]} doesn't reshape to {self.shape}")
        return tuple(self.shape)

    flops = no_flops


@dataclass(frozen=True, slots=True)
class Crop:
    """A crop of (C, H, W): rows top .. top+height-1 and columns left .. left+width-1."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    top: int
    left: int
    height: int
    width: int

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        x = inputs[0]
        require(len(x) == 3 and self.top >= 0 and self.left >= 0, f"takes (C, H, W), is given {x}")
        fits = self.top + self.height <= x[1] and self.left + self.width <= x[2]
        require(fits, f"crops outside of the image of {x}")
        return (x[0], self.height, self.width)

    flops = no_flops
