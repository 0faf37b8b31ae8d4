"""A generator as data: a list of layers, each naming what it reads, and nothing that runs.

One spec serves everything: `torch_module` interprets it in PyTorch, `fold` folds BatchNorm, exporters and
the C engine take the lowered form.  It imports neither torch nor any format.

Values flow by name.  `"z"` (N, nz) and `"label"` (N,) int64 are the graph's inputs, every layer's output
bears the layer's name, and the last layer's output is the image (N, C, H, W).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from gan_export._lib.escape import is_plain_name
from gan_export._lib.schema import decode
from gan_export.errors import GanExportError, printable
from gan_export.graph.layers import ARITY, LAYERS, Concat, Layer, Shape, layer_flops, layer_parameters, output_shape
from gan_export.graph.signature import Signature
from gan_export.graph.words import Prior

MOST_LATENTS = 1 << 18  # of one image; the largest known generator takes 2,048
MOST_VALUES = 1 << 28  # of one layer's output: a gibibyte of float32; a file whose shapes claim more is none of ours
MOST_LAYERS = 1 << 14
SPEC_KEY = "gan-export.spec"  # in the metadata of a safetensors file that holds its own spec, as JSON


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
        if not is_plain_name(self.arch):
            raise GanExportError(
                f"the architecture {printable(str(self.arch), 60)}: 1 to 64 small letters, digits, _ and - are possible"
            )
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

    @property
    def signature(self) -> Signature:
        """What goes in and comes out: z, and label if there are classes, to image."""
        return Signature.of_latent(self.nz, self.prior, self.image, self.classes, self.range)

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
        where = "not a generator spec"
        head = decode(_Head, data, where)
        if len(head.layers) > MOST_LAYERS:
            raise GanExportError(f"{where}: {len(head.layers):,} layers; at most {MOST_LAYERS:,} are possible")
        layers = tuple(_layer(d, where, f"layers[{i}]") for i, d in enumerate(head.layers))
        return GeneratorSpec(head.arch, head.nz, head.prior, head.image, head.range, layers, head.classes)


@dataclass(frozen=True, slots=True)
class _Head:
    """A spec as JSON holds it."""

    arch: str
    nz: int
    prior: Prior
    image: tuple[int, int, int]
    range: tuple[float, float] | None
    layers: tuple[Mapping[str, Any], ...]
    classes: int = 0


_OPS = {c.__name__: c for c in LAYERS}


def _layer(data: Mapping[str, Any], where: str, path: str) -> Layer:
    op = data.get("op")
    if not isinstance(op, str) or op not in _OPS:
        raise GanExportError(f"{where}: {path}.op {printable(repr(op), 40)} is no layer; {', '.join(_OPS)} are known")
    layer: Layer = decode(_OPS[op], {k: v for k, v in data.items() if k != "op"}, where, path)
    return layer


def infer_shapes(spec: GeneratorSpec) -> dict[str, Shape]:
    """Every value's shape by name, the inputs' too.  Raises GanExportError at the first layer that doesn't fit."""
    if not 1 <= spec.nz <= MOST_LATENTS:
        raise GanExportError(f"latent size {spec.nz:,}: 1 to {MOST_LATENTS:,} are possible")
    shapes: dict[str, Shape] = {"z": (spec.nz,)}
    if spec.classes:
        shapes["label"] = ()
    for la in spec.layers:
        if la.name in shapes:
            raise GanExportError(f"two values are called {printable(la.name)}")
        if missing := [i for i in la.inputs if i not in shapes]:
            raise GanExportError(f"layer {printable(la.name)} reads {printable(missing[0])}, which nothing gives")
        if not isinstance(la, Concat) and len(la.inputs) != ARITY.get(type(la), 1):
            raise GanExportError(f"layer {printable(la.name)} has {len(la.inputs)} inputs")
        try:
            shape = output_shape(la, [shapes[i] for i in la.inputs])
        except ValueError as e:
            raise GanExportError(f"layer {printable(la.name)} ({type(la).__name__}): {e}") from None
        if math.prod(shape) > MOST_VALUES:
            raise GanExportError(f"layer {printable(la.name)} ({type(la).__name__}) gives {shape}: too large an image")
        if any(d < 1 for d in shape):
            raise GanExportError(f"layer {printable(la.name)} ({type(la).__name__}) gives nothing: {shape}")
        shapes[la.name] = shape
    return shapes


def flops(spec: GeneratorSpec) -> dict[str, int]:
    """Floating-point operations an image of each layer, a multiply-add as two; products with padding count."""
    shapes = infer_shapes(spec)
    return {la.name: layer_flops(la, [shapes[i] for i in la.inputs]) for la in spec.layers}


def _without_defaults(layer: Layer) -> dict[str, Any]:
    given = asdict(layer)
    return {f.name: given[f.name] for f in fields(layer) if f.default is MISSING or given[f.name] != f.default}


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
