"""The kinds of layers: what each is as data, the arrays that it owns, the shape that it gives, what it costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gan_export.graph.words import ActivationKind, UpsampleMode

Shape = tuple[int, ...]  # of one image: without the batch dimension


@dataclass(frozen=True, slots=True)
class Linear:
    """(F,) -> (out_features,).  weight (out, in), bias (out,)."""

    name: str
    inputs: tuple[str, ...]
    in_features: int
    out_features: int
    bias: bool = True


@dataclass(frozen=True, slots=True)
class ConvTranspose:
    """torch.nn.ConvTranspose2d, square kernel, one group, no dilation.  weight (in, out, k, k), bias (out,)."""

    name: str
    inputs: tuple[str, ...]
    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    output_padding: int = 0
    bias: bool = True


@dataclass(frozen=True, slots=True)
class Conv:
    """torch.nn.Conv2d, square kernel, zero padding, one group.  weight (out, in, k, k), bias (out,)."""

    name: str
    inputs: tuple[str, ...]
    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    bias: bool = True


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """Evaluation mode: (x - running_mean) / sqrt(running_var + eps) x weight + bias, a channel.

    Takes (C,) and (C, H, W).  `affine` False: no weight and bias in the file.
    """

    name: str
    inputs: tuple[str, ...]
    channels: int
    eps: float = 1e-5
    affine: bool = True


@dataclass(frozen=True, slots=True)
class Affine:
    """x × weight + bias, a channel: what lowering leaves of a BatchNorm that nothing precedes."""

    name: str
    inputs: tuple[str, ...]
    channels: int


@dataclass(frozen=True, slots=True)
class Activation:
    """Elementwise.  `slope` is leaky_relu's factor below zero."""

    name: str
    inputs: tuple[str, ...]
    kind: ActivationKind
    slope: float = 0.0


@dataclass(frozen=True, slots=True)
class Upsample:
    """H and W times `factor`.  Bilinear samples at half-pixel centres (align_corners=False)."""

    name: str
    inputs: tuple[str, ...]
    factor: int = 2
    mode: UpsampleMode = "nearest"


@dataclass(frozen=True, slots=True)
class Add:
    """The sum of two values of one shape."""

    name: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Multiply:
    """The elementwise product of two values of one shape."""

    name: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Concat:
    """Joined along the channels, in the order of `inputs`."""

    name: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reshape:
    """Row-major (C-order) view as `shape`."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape


@dataclass(frozen=True, slots=True)
class Crop:
    """Rows top..top+height and columns left..left+width of (C, H, W)."""

    name: str
    inputs: tuple[str, ...]
    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Scale:
    """x × factor + offset, the same for all: brings a sigmoid's [0, 1] to [-1, 1]."""

    name: str
    inputs: tuple[str, ...]
    factor: float
    offset: float


@dataclass(frozen=True, slots=True)
class Embedding:
    """label -> (dim,), a row of weight (classes, dim)."""

    name: str
    inputs: tuple[str, ...]
    classes: int
    dim: int


@dataclass(frozen=True, slots=True)
class OneHot:
    """label -> (classes,): 1 at the label, 0 elsewhere."""

    name: str
    inputs: tuple[str, ...]
    classes: int


Layer = (
    Linear | ConvTranspose | Conv | BatchNorm | Affine | Activation | Upsample | Add | Multiply
    | Concat | Reshape | Crop | Scale | Embedding | OneHot
)  # fmt: skip
LAYERS: tuple[type[Layer], ...] = (
    Linear, ConvTranspose, Conv, BatchNorm, Affine, Activation, Upsample, Add, Multiply,
    Concat, Reshape, Crop, Scale, Embedding, OneHot,
)  # fmt: skip
ARITY: dict[type, int] = {Add: 2, Multiply: 2}  # every other layer but Concat reads one value


def layer_parameters(layer: Layer) -> dict[str, Shape]:
    """The arrays that a layer owns, by torch's own names, with their shapes."""
    match layer:
        case Linear(in_features=i, out_features=o, bias=b):
            return {"weight": (o, i), **({"bias": (o,)} if b else {})}
        case ConvTranspose(in_channels=i, out_channels=o, kernel=k, bias=b):
            return {"weight": (i, o, k, k), **({"bias": (o,)} if b else {})}
        case Conv(in_channels=i, out_channels=o, kernel=k, bias=b):
            return {"weight": (o, i, k, k), **({"bias": (o,)} if b else {})}
        case BatchNorm(channels=c, affine=a):
            learned: dict[str, Shape] = {"weight": (c,), "bias": (c,)} if a else {}
            return {**learned, "running_mean": (c,), "running_var": (c,)}
        case Affine(channels=c):
            return {"weight": (c,), "bias": (c,)}
        case Embedding(classes=n, dim=d):
            return {"weight": (n, d)}
        case _:
            return {}


def output_shape(la: Layer, ins: list[Shape]) -> Shape:
    """The shape that `la` gives for inputs of these shapes.  Raises ValueError, saying why, where it takes no such."""
    x = ins[0] if ins else ()
    match la:
        case Linear():
            require(x == (la.in_features,), f"takes ({la.in_features},), is given {x}")
            return (la.out_features,)
        case ConvTranspose():
            require(len(x) == 3 and x[0] == la.in_channels, f"takes {la.in_channels} channels, is given {x}")
            require(la.stride >= 1 and la.padding >= 0 and 0 <= la.output_padding < max(la.stride, 1), "bad stride")
            grow = la.kernel - 2 * la.padding + la.output_padding
            return (la.out_channels, (x[1] - 1) * la.stride + grow, (x[2] - 1) * la.stride + grow)
        case Conv():
            require(len(x) == 3 and x[0] == la.in_channels, f"takes {la.in_channels} channels, is given {x}")
            require(la.stride >= 1 and la.padding >= 0, "bad stride")
            side = [(d + 2 * la.padding - la.kernel) // la.stride + 1 for d in x[1:]]
            return (la.out_channels, *side)
        case BatchNorm() | Affine():
            require(len(x) in (1, 3) and x[0] == la.channels, f"takes {la.channels} channels, is given {x}")
            return x
        case Activation() | Scale():
            return x
        case Upsample():
            require(len(x) == 3 and la.factor >= 1, f"takes (C, H, W), is given {x}")
            return (x[0], x[1] * la.factor, x[2] * la.factor)
        case Add() | Multiply():
            require(ins[0] == ins[1], f"{ins[0]} and {ins[1]} differ")
            return x
        case Concat():
            require(len(ins) >= 2 and all(len(i) == len(x) and i[1:] == x[1:] and i for i in ins), f"can't join {ins}")
            return (sum(i[0] for i in ins), *x[1:])
        case Reshape():
            require(len(la.shape) in (1, 3), f"gives {la.shape}")
            require(math.prod(x) == math.prod(la.shape), f"{x} doesn't reshape to {la.shape}")
            return tuple(la.shape)
        case Crop():
            require(len(x) == 3 and la.top >= 0 and la.left >= 0, f"takes (C, H, W), is given {x}")
            fits = len(x) == 3 and la.top + la.height <= x[1] and la.left + la.width <= x[2]
            require(fits, f"leaves the picture of {x}")
            return (x[0], la.height, la.width)
        case Embedding() | OneHot():
            require(la.inputs == ("label",), "reads what is no label")
            return (la.dim if isinstance(la, Embedding) else la.classes,)


def layer_flops(la: Layer, ins: list[Shape]) -> int:
    """Floating-point operations an image, a multiply-add as two; products with padding count."""
    out = math.prod(output_shape(la, ins))
    match la:
        case Linear(in_features=i, bias=b):
            return out * (2 * i + b)
        case ConvTranspose(kernel=k, bias=b, out_channels=o):
            return 2 * math.prod(ins[0]) * o * k * k + out * b
        case Conv(in_channels=i, kernel=k, bias=b):
            return out * (2 * i * k * k + b)
        case BatchNorm() | Affine() | Scale():
            return 2 * out
        case Activation() | Add() | Multiply():
            return out
        case Upsample(mode="bilinear"):
            return 7 * out  # three interpolations, 2 each, and a weight
        case _:
            return 0


def require(condition: bool, otherwise: str) -> None:
    """Raises ValueError, saying `otherwise`, where the condition doesn't hold."""
    if not condition:
        raise ValueError(otherwise)
