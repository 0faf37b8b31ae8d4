"""Define ELU, the exponential linear unit, which is the activation of BEGAN."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gan_export.graph.layers.base import Shape, no_parameters


@dataclass(frozen=True, slots=True)
class Elu:
    """torch.nn.ELU: x if x > 0, else alpha × (e^x - 1)."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    alpha: float = 1.0

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]

    def flops(self, *inputs: Shape) -> int:
        return 3 * math.prod(inputs[0])
