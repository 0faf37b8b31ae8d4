"""Define elementwise layers of one input or of two inputs with the same shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gan_export.graph.layers.base import Shape, no_parameters, require
from gan_export.graph.words import ActivationKind


@dataclass(frozen=True, slots=True)
class Activation:
    """An elementwise activation; `slope` is the negative slope of leaky_relu, unused by other kinds."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    kind: ActivationKind
    slope: float = 0.0

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]

    def flops(self, *inputs: Shape) -> int:
        return math.prod(inputs[0])


@dataclass(frozen=True, slots=True)
class Scale:
    """x × factor + offset, with the same numbers for all values, such as from a sigmoid's [0, 1] to [-1, 1]."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    factor: float
    offset: float

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]

    def flops(self, *inputs: Shape) -> int:
        return 2 * math.prod(inputs[0])


@dataclass(frozen=True, slots=True)
class Add:
    """The sum of two values of the same shape."""

    ARITY: ClassVar[int | None] = 2
    name: str
    inputs: tuple[str, ...]

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        return _same(inputs)

    def flops(self, *inputs: Shape) -> int:
        return math.prod(inputs[0])


@dataclass(frozen=True, slots=True)
class Multiply:
    """The elementwise product of two values of the same shape."""

    ARITY: ClassVar[int | None] = 2
    name: str
    inputs: tuple[str, ...]

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        return _same(inputs)

    def flops(self, *inputs: Shape) -> int:
        return math.prod(inputs[0])


def _same(inputs: tuple[Shape, ...]) -> Shape:
    require(inputs[0] == inputs[1], f"{inputs[0]} and {inputs[1]} differ")
    return inputs[0]
