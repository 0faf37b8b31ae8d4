"""Define padding of an image by reflection, by its edge, or by zeros."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gan_export.graph.layers.base import Shape, no_flops, no_parameters, require
from gan_export.graph.words import PadMode


@dataclass(frozen=True, slots=True)
class Pad:
    """Padding: (C, H, W) -> (C, H + 2 size, W + 2 size), with `size` rows or columns added on each side.

    mode: "reflect" mirrors the image without repeating the edge, "replicate" repeats the edge, "zeros" adds zeros
    """

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    size: int
    mode: PadMode

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        x = inputs[0]
        require(len(x) == 3 and self.size >= 1, f"takes (C, H, W), is given {x}")
        require(self.mode != "reflect" or min(x[1:]) > self.size, f"can't mirror {self.size} pixels of {x}")
        return (x[0], x[1] + 2 * self.size, x[2] + 2 * self.size)

    flops = no_flops
