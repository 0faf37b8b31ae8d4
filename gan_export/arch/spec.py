"""A generator as data: a list of layers, each naming what it reads, and nothing that runs.

One spec serves everything: `module` interprets it in PyTorch, `lowering` folds it, exporters and the C
engine take the lowered form.  It imports neither torch nor any format.

Values flow by name.  `"z"` (N, nz) and `"label"` (N,) int64 are the graph's inputs, every layer's output
bears the layer's name, and the last layer's output is the image (N, C, H, W).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from gan_export.arch.layers import (
    ARITY,
    LAYERS,
    Concat,
    Layer,
    Shape,
    layer_flops,
    layer_parameters,
    output_shape,
    want,
)
from gan_export.arch.typed import wrong_field
from gan_export.arch.words import Prior
from gan_export.errors import GanExportError, printable
from gan_export.signature import Signature

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
        ops = {c.__name__: c for c in LAYERS}
        try:
            layers = tuple(ops[d["op"]](**{k: _tuple(v) for k, v in d.items() if k != "op"}) for d in data["layers"])
            head = {k: _tuple(v) for k, v in data.items() if k != "layers"}
            for layer in layers:
                want((wrong := wrong_field(layer)) is None, f"{wrong} of {type(layer).__name__}")
            spec = GeneratorSpec(layers=layers, **head)
            want((wrong := wrong_field(spec)) is None, f"{wrong}")
            return spec
        except (KeyError, TypeError, AttributeError, ValueError) as e:
            raise GanExportError(f"not a generator spec: {printable(str(e))}") from None


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
        if not isinstance(la, Concat) and len(la.inputs) != ARITY.get(type(la), 1):
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
    return {la.name: layer_flops(la, [shapes[i] for i in la.inputs]) for la in spec.layers}


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
