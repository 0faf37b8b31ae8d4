"""Define elementwise layers with learned slopes or with bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gan_export.graph.layers.base import Shape, no_parameters, require


@dataclass(frozen=True, slots=True)
class PReLU:
    """torch.nn.PReLU of (C, H, W): x if x > 0, else x × weight, with one slope for all channels or one per channel.

    slopes: 1, or C.  weight (slopes,).
    """

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    slopes: int

    def parameters(self) -> dict[str, Shape]:
        return {"weight": (self.slopes,)}

    def output_shape(self, *inputs: Shape) -> Shape:
        x = inputs[0]
        require(len(x) == 3 and self.slopes in (1, x[0]), f"has {self.slopes} slopes for {x}")
        return x

    def flops(self, *inputs: Shape) -> int:
        return math.prod(inputs[0])


@dataclass(frozen=True, slots=True)
class Clamp:
    """torch.clamp: values below `low` become `low`, values above `high` become `high`."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    low: float
    high: float

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        require(self.low < self.high, f"clamps to [{self.low}, {self.high}]")
        return inputs[0]

    def flops(self, *inputs: Shape) -> int:
        return 2 * math.prod(inputs[0])
