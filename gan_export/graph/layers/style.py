"""Define layers of style-based generators: styles scale channels, and noise is added; the weights are constants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gan_export.graph.layers.base import Shape, no_flops, no_parameters, require, takes_channels


@dataclass(frozen=True, slots=True)
class PixelNorm:
    """Pixel normalization of (C,) or (C, H, W): x × rsqrt(mean of x² over the channels + eps)."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    eps: float = 1e-8

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        require(len(inputs[0]) in (1, 3), f"takes (C,) or (C, H, W), is given {inputs[0]}")
        return inputs[0]

    def flops(self, *inputs: Shape) -> int:
        return 3 * math.prod(inputs[0])


@dataclass(frozen=True, slots=True)
class Demodulate:
    """Demodulation factors of a style: (in_features,) -> (out_features,), rsqrt(style² @ weight.T + eps).

    Multiplied by its factor, an output channel of the modulated convolution has unit variance.
    weight (out_features, in_features): the squares of the convolution's weight, summed over its kernel.
    """

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    in_features: int
    out_features: int
    eps: float = 1e-8

    def parameters(self) -> dict[str, Shape]:
        return {"weight": (self.out_features, self.in_features)}

    def output_shape(self, *inputs: Shape) -> Shape:
        require(inputs[0] == (self.in_features,), f"takes ({self.in_features},), is given {inputs[0]}")
        return (self.out_features,)

    def flops(self, *inputs: Shape) -> int:
        return self.in_features + self.out_features * (2 * self.in_features + 2)


@dataclass(frozen=True, slots=True)
class ModulatedConstant:
    """A learned constant whose channels are multiplied by a style: (C,) -> (C, H, W).  weight (C, H, W)."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    shape: Shape

    def parameters(self) -> dict[str, Shape]:
        return {"weight": tuple(self.shape)}

    def output_shape(self, *inputs: Shape) -> Shape:
        require(len(self.shape) == 3 and inputs[0] == tuple(self.shape[:1]), f"{inputs[0]} doesn't fit {self.shape}")
        return tuple(self.shape)

    def flops(self, *inputs: Shape) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class ScaleChannels:
    """The product of each channel of x (C, H, W) and its value in s (C,)."""

    ARITY: ClassVar[int | None] = 2
    name: str
    inputs: tuple[str, ...]

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        return _with_vector(inputs)

    def flops(self, *inputs: Shape) -> int:
        return math.prod(inputs[0])


@dataclass(frozen=True, slots=True)
class ShiftChannels:
    """The sum of each channel of x (C, H, W) and its value in b (C,)."""

    ARITY: ClassVar[int | None] = 2
    name: str
    inputs: tuple[str, ...]

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        return _with_vector(inputs)

    def flops(self, *inputs: Shape) -> int:
        return math.prod(inputs[0])


@dataclass(frozen=True, slots=True)
class ChannelBias:
    """The sum of x (C, H, W) and a learned bias (C,) per channel."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    channels: int

    def parameters(self) -> dict[str, Shape]:
        return {"bias": (self.channels,)}

    def output_shape(self, *inputs: Shape) -> Shape:
        takes_channels(self.channels, inputs[0])
        return inputs[0]

    def flops(self, *inputs: Shape) -> int:
        return math.prod(inputs[0])


@dataclass(frozen=True, slots=True)
class AddPlane:
    """The sum of x (C, H, W) and stored noise, weight (1, H, W), which is the same for all channels."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    height: int
    width: int

    def parameters(self) -> dict[str, Shape]:
        return {"weight": (1, self.height, self.width)}

    def output_shape(self, *inputs: Shape) -> Shape:
        x = inputs[0]
        fits = len(x) == 3 and x[1:] == (self.height, self.width)
        require(fits, f"takes (C, {self.height}, {self.width}), is given {x}")
        return x

    def flops(self, *inputs: Shape) -> int:
        return math.prod(inputs[0])


@dataclass(frozen=True, slots=True)
class AddNoise:
    """The sum of x (C, H, W) and noise (1, H, W) × weight (1,), which is the same for all channels."""

    ARITY: ClassVar[int | None] = 2
    name: str
    inputs: tuple[str, ...]

    def parameters(self) -> dict[str, Shape]:
        return {"weight": (1,)}

    def output_shape(self, *inputs: Shape) -> Shape:
        x, noise = inputs
        require(len(x) == 3 and noise == (1, *x[1:]), f"{noise} is no noise for {x}")
        return x

    def flops(self, *inputs: Shape) -> int:
        return math.prod(inputs[0]) + math.prod(inputs[1])


@dataclass(frozen=True, slots=True)
class Truncate:
    """The truncation trick: w (F,), psi () -> center + psi × (w - center), with the stored mean center (F,)."""

    ARITY: ClassVar[int | None] = 2
    name: str
    inputs: tuple[str, ...]
    features: int

    def parameters(self) -> dict[str, Shape]:
        return {"center": (self.features,)}

    def output_shape(self, *inputs: Shape) -> Shape:
        require(inputs == ((self.features,), ()), f"takes ({self.features},) and a scalar, is given {inputs}")
        return inputs[0]

    def flops(self, *inputs: Shape) -> int:
        return 3 * self.features


@dataclass(frozen=True, slots=True)
class Row:
    """Row `index` of (R, F), as (F,)."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    index: int

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        x = inputs[0]
        require(len(x) == 2 and 0 <= self.index < x[0], f"{x} has no row {self.index}")
        return x[1:]

    flops = no_flops


@dataclass(frozen=True, slots=True)
class Rows:
    """Several (F,) as the rows of (R, F), in the order of `inputs`; the same one may stand several times."""

    ARITY: ClassVar[int | None] = None
    name: str
    inputs: tuple[str, ...]

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        fits = all(len(x) == 1 and x == inputs[0] for x in inputs)
        require(len(inputs) >= 1 and fits, f"can't stack {list(inputs)}")
        return (len(inputs), *inputs[0])

    flops = no_flops


@dataclass(frozen=True, slots=True)
class Channels:
    """A slice of (C,) or (C, H, W): channels or features start .. start+count-1."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    start: int
    count: int

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        x = inputs[0]
        fits = len(x) in (1, 3) and self.start >= 0 and self.start + self.count <= x[0]
        require(fits, f"{x} has no {self.count} channels from {self.start} on")
        return (self.count, *x[1:])

    flops = no_flops


def _with_vector(inputs: tuple[Shape, ...]) -> Shape:
    x, vector = inputs
    require(len(x) == 3 and vector == x[:1], f"{vector} is no value per channel of {x}")
    return x
