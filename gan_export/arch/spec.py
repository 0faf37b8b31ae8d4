"""A generator as data: a list of layers, each naming what it reads, and nothing that runs.

One spec serves everything: `module` interprets it in PyTorch, `lowering` folds it, exporters and the C
engine take the lowered form.  It imports neither torch nor any format.

Values flow by name.  `"z"` (N, nz) and `"label"` (N,) int64 are the graph's inputs, every layer's output
bears the layer's name, and the last layer's output is the image (N, C, H, W).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from gan_export.arch.typed import wrong_field
from gan_export.arch.words import ActivationKind, Prior, UpsampleMode
from gan_export.errors import GanExportError, printable

Shape = tuple[int, ...]  # of one image: without the batch dimension
SPEC_KEY = "gan-export.spec"  # in the metadata of a safetensors file that holds its own spec, as JSON


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
_ARITY: dict[type, int] = {Add: 2, Multiply: 2}  # every other layer but Concat reads one value


@dataclass(frozen=True, slots=True)
class GeneratorSpec:
    """What a generator computes, its weights aside.

    arch:   the family's name in `arch.ARCHS`
    nz:     length of a latent
    prior:  what latents are drawn from: N(0, 1), or U(-1, 1)
    image:  (C, H, W) of one picture
    range:  (low, high) of the values that `layers` give; None where nothing bounds them
    classes: number of labels, 0 for an unconditional generator
    layers: in an order in which every input is already known
    """

    arch: str
    nz: int
    prior: Prior
    image: tuple[int, int, int]
    range: tuple[float, float] | None
    layers: tuple[Layer, ...]
    classes: int = 0

    def __post_init__(self) -> None:
        shapes = infer_shapes(self)
        if not self.layers:
            raise GanExportError("a generator without layers")
        got = shapes[self.layers[-1].name]
        if got != self.image:
            raise GanExportError(f"the layers give {got}, the spec says {self.image}")

    @property
    def output(self) -> str:
        """The name of the value that is the image."""
        return self.layers[-1].name

    def parameters(self) -> dict[str, Shape]:
        """`layer.param` -> shape of every array that the weights must hold, in the order of the layers."""
        return {f"{la.name}.{p}": s for la in self.layers for p, s in layer_parameters(la).items()}

    def to_json(self) -> dict[str, Any]:
        """Plain data for a manifest; `from_json` reads it back to an equal spec."""
        head = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "layers"}
        layers = [{"op": type(la).__name__, **_without_defaults(la)} for la in self.layers]
        return {**head, "layers": layers}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> GeneratorSpec:
        """Raises GanExportError for what is not a spec, or one whose shapes don't chain."""
        ops = {c.__name__: c for c in LAYERS}
        try:
            layers = tuple(ops[d["op"]](**{k: _tuple(v) for k, v in d.items() if k != "op"}) for d in data["layers"])
            head = {k: _tuple(v) for k, v in data.items() if k != "layers"}
            for layer in layers:
                _want((wrong := wrong_field(layer)) is None, f"{wrong} of {type(layer).__name__}")
            spec = GeneratorSpec(layers=layers, **head)
            _want((wrong := wrong_field(spec)) is None, f"{wrong}")
            return spec
        except (KeyError, TypeError, AttributeError, ValueError) as e:
            raise GanExportError(f"not a generator spec: {printable(str(e))}") from None


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


def infer_shapes(spec: GeneratorSpec) -> dict[str, Shape]:
    """Every value's shape by name, the inputs' too.  Raises GanExportError at the first layer that doesn't fit."""
    if spec.nz < 1:
        raise GanExportError(f"latent size {spec.nz}: at least 1 is needed")
    shapes: dict[str, Shape] = {"z": (spec.nz,)}
    if spec.classes:
        shapes["label"] = ()
    for la in spec.layers:
        if la.name in shapes:
            raise GanExportError(f"two values are called {printable(la.name)}")
        if missing := [i for i in la.inputs if i not in shapes]:
            raise GanExportError(f"layer {printable(la.name)} reads {printable(missing[0])}, which nothing gives")
        if not isinstance(la, Concat) and len(la.inputs) != _ARITY.get(type(la), 1):
            raise GanExportError(f"layer {printable(la.name)} has {len(la.inputs)} inputs")
        try:
            shape = output_shape(la, [shapes[i] for i in la.inputs])
        except ValueError as e:
            raise GanExportError(f"layer {printable(la.name)} ({type(la).__name__}): {e}") from None
        if any(d < 1 for d in shape):
            raise GanExportError(f"layer {printable(la.name)} ({type(la).__name__}) gives nothing: {shape}")
        shapes[la.name] = shape
    return shapes


def flops(spec: GeneratorSpec) -> dict[str, int]:
    """Floating-point operations an image of each layer, a multiply-add as two; products with padding count."""
    shapes = infer_shapes(spec)
    return {la.name: _layer_flops(la, shapes) for la in spec.layers}


def _layer_flops(la: Layer, shapes: Mapping[str, Shape]) -> int:
    out = math.prod(shapes[la.name])
    match la:
        case Linear(in_features=i, bias=b):
            return out * (2 * i + b)
        case ConvTranspose(kernel=k, bias=b, out_channels=o):
            return 2 * math.prod(shapes[la.inputs[0]]) * o * k * k + out * b
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


def output_shape(la: Layer, ins: list[Shape]) -> Shape:
    """The shape that `la` gives for inputs of these shapes.  Raises ValueError, saying why, where it takes no such."""
    x = ins[0] if ins else ()
    match la:
        case Linear():
            _want(x == (la.in_features,), f"takes ({la.in_features},), is given {x}")
            return (la.out_features,)
        case ConvTranspose():
            _want(len(x) == 3 and x[0] == la.in_channels, f"takes {la.in_channels} channels, is given {x}")
            _want(la.stride >= 1 and la.padding >= 0 and 0 <= la.output_padding < max(la.stride, 1), "bad stride")
            grow = la.kernel - 2 * la.padding + la.output_padding
            return (la.out_channels, (x[1] - 1) * la.stride + grow, (x[2] - 1) * la.stride + grow)
        case Conv():
            _want(len(x) == 3 and x[0] == la.in_channels, f"takes {la.in_channels} channels, is given {x}")
            _want(la.stride >= 1 and la.padding >= 0, "bad stride")
            side = [(d + 2 * la.padding - la.kernel) // la.stride + 1 for d in x[1:]]
            return (la.out_channels, *side)
        case BatchNorm() | Affine():
            _want(len(x) in (1, 3) and x[0] == la.channels, f"takes {la.channels} channels, is given {x}")
            return x
        case Activation() | Scale():
            return x
        case Upsample():
            _want(len(x) == 3 and la.factor >= 1, f"takes (C, H, W), is given {x}")
            return (x[0], x[1] * la.factor, x[2] * la.factor)
        case Add() | Multiply():
            _want(ins[0] == ins[1], f"{ins[0]} and {ins[1]} differ")
            return x
        case Concat():
            _want(len(ins) >= 2 and all(len(i) == len(x) and i[1:] == x[1:] and i for i in ins), f"can't join {ins}")
            return (sum(i[0] for i in ins), *x[1:])
        case Reshape():
            _want(len(la.shape) in (1, 3), f"gives {la.shape}")
            _want(math.prod(x) == math.prod(la.shape), f"{x} doesn't reshape to {la.shape}")
            return tuple(la.shape)
        case Crop():
            _want(len(x) == 3 and la.top >= 0 and la.left >= 0, f"takes (C, H, W), is given {x}")
            fits = len(x) == 3 and la.top + la.height <= x[1] and la.left + la.width <= x[2]
            _want(fits, f"leaves the picture of {x}")
            return (x[0], la.height, la.width)
        case Embedding() | OneHot():
            _want(la.inputs == ("label",), "reads what is no label")
            return (la.dim if isinstance(la, Embedding) else la.classes,)


def _want(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def _without_defaults(layer: Layer) -> dict[str, Any]:
    given = asdict(layer)
    return {f.name: given[f.name] for f in fields(layer) if f.default is MISSING or given[f.name] != f.default}


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class Chain:
    """Builds a spec's layers in order; each call reads the last one's output unless `inputs` says otherwise.

    >>> c = Chain()
    >>> c.add(Reshape, "seed", shape=(100, 1, 1))
    'seed'
    >>> c.add(ConvTranspose, "convt0", in_channels=100, out_channels=512, kernel=4)
    'convt0'
    """

    def __init__(self, start: str = "z") -> None:
        self.layers: list[Layer] = []
        self.last = start

    def add(self, kind: type[Layer], name: str, /, *, inputs: tuple[str, ...] | None = None, **settings: Any) -> str:
        """Append a layer and give its name."""
        self.layers.append(kind(name=name, inputs=inputs or (self.last,), **settings))
        self.last = name
        return name

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)
