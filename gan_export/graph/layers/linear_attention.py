"""Define attention with several heads in linear time and between neighbors, and what stands around it.

Source: lucidrains/lightweight-gan.  Heads are equal groups of channels, each of which attends by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gan_export.graph.layers.base import Shape, no_parameters, require, takes_channels


@dataclass(frozen=True, slots=True)
class LinearAttend:
    """Attention without a product of all positions: queries, keys and values (C, H, W) -> (C, H, W).

    Per head of D = C / heads channels: softmax of each query over its channels, × D^-1/2, times the sum over the
    positions of softmax(keys over the positions) × values.
    """

    ARITY: ClassVar[int | None] = 3
    name: str
    inputs: tuple[str, ...]
    heads: int

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        return _attended(self.heads, inputs)

    def flops(self, *inputs: Shape) -> int:
        return math.prod(inputs[0]) * (4 * inputs[0][0] // self.heads + 7)


@dataclass(frozen=True, slots=True)
class LocalAttend:
    """Attention of each position to the 3 x 3 around it: queries, keys and values (C, H, W) -> (C, H, W).

    Per head of D = C / heads channels, products × D^-1/2.  Beyond the edge, keys and values are 0, and take part.
    """

    ARITY: ClassVar[int | None] = 3
    name: str
    inputs: tuple[str, ...]
    heads: int

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        return _attended(self.heads, inputs)

    def flops(self, *inputs: Shape) -> int:
        return 9 * math.prod(inputs[0]) * 4 + 9 * 4 * self.heads * math.prod(inputs[0][1:])


@dataclass(frozen=True, slots=True)
class ContextPool:
    """Attention pooling: scores (1, H, W), x (C, H, W) -> (C,), the mean of x weighted by the softmax of the scores."""

    ARITY: ClassVar[int | None] = 2
    name: str
    inputs: tuple[str, ...]

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        scores, x = inputs
        require(len(x) == 3 and scores == (1, *x[1:]), f"{scores} are no scores of {x}")
        return x[:1]

    def flops(self, *inputs: Shape) -> int:
        return 2 * math.prod(inputs[1]) + 3 * math.prod(inputs[0])


@dataclass(frozen=True, slots=True)
class ChannelNorm:
    """Normalization over the channels of each position: (x - mean) / √(variance + eps) × weight (C,) + bias (C,)."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    channels: int
    eps: float = 1e-5

    def parameters(self) -> dict[str, Shape]:
        return {"weight": (self.channels,), "bias": (self.channels,)}

    def output_shape(self, *inputs: Shape) -> Shape:
        takes_channels(self.channels, inputs[0])
        return inputs[0]

    def flops(self, *inputs: Shape) -> int:
        return 8 * math.prod(inputs[0])


@dataclass(frozen=True, slots=True)
class Gelu:
    """torch.nn.GELU: x × Φ(x), with the normal distribution function Φ."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]

    def flops(self, *inputs: Shape) -> int:
        return 5 * math.prod(inputs[0])


def _attended(heads: int, inputs: tuple[Shape, ...]) -> Shape:
    x = inputs[0]
    require(len(x) == 3 and all(other == x for other in inputs), f"takes three of one shape, is given {inputs}")
    require(heads >= 1 and x[0] % heads == 0, f"{x[0]} channels are not {heads} heads")
    return x
