"""Define layers from a vector to a vector, and from a label to a vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gan_export.graph.layers.base import Shape, no_flops, no_parameters, require, weight_and_bias


@dataclass(frozen=True, slots=True)
class Linear:
    """torch.nn.Linear: (in_features,) -> (out_features,).  weight (out, in), bias (out,)."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    in_features: int
    out_features: int
    bias: bool = True

    def parameters(self) -> dict[str, Shape]:
        return weight_and_bias((self.out_features, self.in_features), self.out_features, self.bias)

    def output_shape(self, *inputs: Shape) -> Shape:
        require(inputs[0] == (self.in_features,), f"takes ({self.in_features},), is given {inputs[0]}")
        return (self.out_features,)

    def flops(self, *inputs: Shape) -> int:
        return self.out_features * (2 * self.in_features + self.bias)


@dataclass(frozen=True, slots=True)
class Embedding:
    """torch.nn.Embedding: label -> (dim,), the row of weight (classes, dim) at the label."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    classes: int
    dim: int

    def parameters(self) -> dict[str, Shape]:
        return {"weight": (self.classes, self.dim)}

    def output_shape(self, *inputs: Shape) -> Shape:
        require(inputs[0] == (), "reads what is no label")
        return (self.dim,)

    flops = no_flops


@dataclass(frozen=True, slots=True)
class OneHot:
    """One-hot encoding: label -> (classes,), 1 at the label and 0 elsewhere."""

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    classes: int

    parameters = no_parameters

    def output_shape(self, *inputs: Shape) -> Shape:
        require(inputs[0] == (), "reads what is no label")
        return (self.classes,)

    flops = no_flops
