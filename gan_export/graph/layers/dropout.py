"""Define dropout that stays on when images are generated; its random numbers are an input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gan_export.graph.layers.base import Shape, no_parameters, require


@dataclass(frozen=True, slots=True)
class Dropout:
    """Dropout of values by uniform numbers u of the same shape: values / (1 - rate) if u > threshold, else 0.

    u is on (0, 1) by the latent law: u = (n + 0.5) / 65536 for a 16-bit n.  As in `latents.dropout_keeps`, a value is
    kept if n >= round(rate x 65536).
    """

    ARITY: ClassVar[int | None] = 2
    name: str
    inputs: tuple[str, ...]
    rate: float

    @property
    def threshold(self) -> float:
        """The bound that u exceeds if its value is kept."""
        return round(self.rate * 65536) / 65536

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        require(0.0 <= self.rate < 1.0, f"has rate {self.rate}, which must be in [0, 1)")
        require(inputs[0] == inputs[1], f"{inputs[0]} and {inputs[1]} differ")
        return inputs[0]

    def flops(self, *inputs: Shape) -> int:
        return 2 * math.prod(inputs[0])
