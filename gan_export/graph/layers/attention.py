"""Define self-attention between the positions of an image, and max pooling of its keys and values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gan_export.graph.layers.base import Shape, no_parameters, require


@dataclass(frozen=True, slots=True)
class MaxPool:
    """torch.nn.MaxPool2d of (C, H, W), kernel and stride `size`; incomplete windows at the edges are dropped."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    size: int = 2

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        x = inputs[0]
        require(len(x) == 3 and self.size >= 1, f"takes (C, H, W), is given {x}")
        return (x[0], x[1] // self.size, x[2] // self.size)

    def flops(self, *inputs: Shape) -> int:
        return math.prod(inputs[0])


@dataclass(frozen=True, slots=True)
class Attend:
    """Attention: queries (D, H, W), keys (D, h, w), values (C, h, w) -> (C, H, W).

    The output at a position is the mean of the values, weighted by the softmax over the products of the position's
    query with all keys.
    """

    ARITY: ClassVar[int | None] = 3
    name: str
    inputs: tuple[str, ...]

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        queries, keys, values = inputs
        require(len(queries) == len(keys) == len(values) == 3, f"takes three of (C, H, W), is given {inputs}")
        require(queries[0] == keys[0] and keys[1:] == values[1:], f"{queries}, {keys} and {values} don't fit")
        return (values[0], *queries[1:])

    def flops(self, *inputs: Shape) -> int:
        queries, keys, values = inputs
        pairs = math.prod(queries[1:]) * math.prod(keys[1:])
        return pairs * (2 * queries[0] + 2 * values[0] + 3)
