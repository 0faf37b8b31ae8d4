"""Define `Layer`, the interface of every kind of layer.

A kind is a frozen dataclass in a module of this package, and an entry of LAYERS.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

Shape = tuple[int, ...]  # shape of a value for one image, without the batch dimension


class Layer(Protocol):
    """A layer of a generator as data; its fields other than `name` and `inputs` are settings with JSON values."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    ARITY: ClassVar[int | None]  # number of inputs; None: two or more

    @property
    def name(self) -> str:
        """The name of the layer and of its output."""
        ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the values that the layer reads."""
        ...

    def parameters(self) -> dict[str, Shape]:
        """Return the shape of each parameter of the layer, by torch's name for it."""
        ...

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the output shape for these input shapes.  Raises ValueError if the layer doesn't take them."""
        ...

    def flops(self, *inputs: Shape) -> int:
        """Return the floating-point operations per image; a multiply-add is two, and products with padding count."""
        ...


def no_parameters(self: object) -> dict[str, Shape]:
    """Return {}: the `Layer.parameters` of a layer without parameters."""
    return {}


def no_flops(self: object, *inputs: Shape) -> int:
    """Return 0: the `Layer.flops` of a layer that only moves values."""
    return 0


def require(condition: bool, otherwise: str) -> None:
    """Raise ValueError with the message `otherwise` unless `condition` is true."""
    if not condition:
        raise ValueError(otherwise)


def weight_and_bias(weight: Shape, outputs: int, bias: bool) -> dict[str, Shape]:
    """Return the parameters of a layer with a weight of that shape and, if `bias`, a bias (outputs,)."""
    return {"weight": weight, **({"bias": (outputs,)} if bias else {})}


def takes_channels(channels: int, shape: Shape) -> None:
    """Raise ValueError unless `shape` is (channels, H, W)."""
    require(len(shape) == 3 and shape[0] == channels, f"takes {channels} channels, is given {shape}")
