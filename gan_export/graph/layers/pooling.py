"""Define average pooling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gan_export.graph.layers.base import Shape, no_parameters, require


@dataclass(frozen=True, slots=True)
class AvgPool:
    """torch.nn.AvgPool2d of (C, H, W), kernel and stride `size`; H and W must be multiples of `size`."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    size: int

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        x = inputs[0]
        whole = len(x) == 3 and self.size >= 1 and x[1] % self.size == 0 and x[2] % self.size == 0
        require(whole, f"takes sides that are multiples of {self.size}, is given {x}")
        return (x[0], x[1] // self.size, x[2] // self.size)

    def flops(self, *inputs: Shape) -> int:
        return math.prod(inputs[0])
