"""Describe a generator as data: a list of layers, each with the names of its inputs, and no code to run.

Every module uses the same spec: `torch_module` converts it to PyTorch, `lower` makes one of less work that computes the
same, and exporters and the C engine use the lowered spec.  This module imports neither torch nor any format.

Values have names: an input of the signature has the name of its port, and the output of a layer has the layer's name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from gan_export._lib.escape import is_plain_name
from gan_export._lib.schema import decode
from gan_export.errors import GanExportError, printable
from gan_export.graph.layers import LAYERS, Embedding, Layer, OneHot, Shape
from gan_export.graph.signature import Signature
from gan_export.graph.words import Prior

MOST_LATENTS = 1 << 18  # latent size; the largest known generator has 2,048
MOST_VALUES = 1 << 28  # values in one layer's output: 1 GiB of float32; a file whose shapes need more is refused
MOST_LAYERS = 1 << 14
SPEC_KEY = "gan-export.spec"  # metadata key of a safetensors file that contains its own spec as JSON


@dataclass(frozen=True, slots=True)
class GeneratorSpec:
    """A generator without its weights.

    arch:      the family's name
    signature: the ports; each input is a value with its port's name
    layers:    in an order in which each layer comes after the layers that it reads
    outputs:   the name of the value of each output port, in the signature's order; by default the last layer's name
    """

    arch: str
    signature: Signature
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not is_plain_name(self.arch):
            raise GanExportError(
                f"the architecture {printable(str(self.arch), 60)}: must be 1 to 64 small letters, digits, _ and -"
            )
        if not self.layers:
            raise GanExportError("a generator without layers")
        if not self.outputs:
            object.__setattr__(self, "outputs", (self.layers[-1].name,))
        if len(self.outputs) != len(self.signature.outputs):
            raise GanExportError(f"{len(self.outputs)} outputs, the signature has {len(self.signature.outputs)}")
        for sizes in self.signature.judged_sizes():
            self._check_outputs(sizes)

    def _check_outputs(self, sizes: Mapping[str, int]) -> None:
        shapes = infer_shapes(self, sizes)
        for port, value in zip(self.signature.outputs, self.outputs, strict=True):
            if value not in shapes:
                raise GanExportError(f"the output {port.name} is {printable(value)}, which nothing gives")
            if shapes[value] != port.dims(sizes):
                raise GanExportError(f"the layers compute {shapes[value]}, the signature states {port.dims(sizes)}")

    @staticmethod
    def of_latent(  # noqa: PLR0917
        arch: str,
        nz: int,
        prior: Prior,
        image: tuple[int, ...],
        range: tuple[float, float] | None,
        layers: tuple[Layer, ...],
        classes: int = 0,
    ) -> GeneratorSpec:
        """Return the spec of a generator from z (nz,), and a label if it has classes, to `image`.

        image: (C, H, W), (C, D, H, W) of a volume, or (C, L) of a signal; see `Signature.of_latent`
        """
        if not 1 <= nz <= MOST_LATENTS:
            raise GanExportError(f"latent size {nz:,}: must be 1 to {MOST_LATENTS:,}")
        return GeneratorSpec(arch, Signature.of_latent(nz, prior, image, classes, range), layers)

    def parameters(self) -> dict[str, Shape]:
        """Return the shape of each array of the weights by its key `layer.param`, in the order of the layers."""
        return {f"{la.name}.{p}": s for la in self.layers for p, s in la.parameters().items()}

    def to_json(self) -> dict[str, Any]:
        """Return plain data for a manifest; `from_json` reads it back to an equal spec."""
        layers = [{"op": type(la).__name__, **_without_defaults(la)} for la in self.layers]
        outputs = {} if self.outputs == (self.layers[-1].name,) else {"outputs": self.outputs}
        return {"arch": self.arch, "signature": self.signature.to_data(), "layers": layers, **outputs}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> GeneratorSpec:
        """Read a spec, also one of version 1 (nz, prior, image, range and classes instead of a signature).

        Raises GanExportError for data that is not a spec, or if a layer doesn't fit the shapes of its inputs.
        """
        where = "not a generator spec"
        if isinstance(data, Mapping) and "signature" in data:
            head = decode(_Head, data, where)
            signature = Signature.from_data(head.signature)
            return GeneratorSpec(head.arch, signature, _layers(head.layers, where), head.outputs)
        old = decode(_FirstHead, data, where)
        layers = _layers(old.layers, where)
        return GeneratorSpec.of_latent(old.arch, old.nz, old.prior, old.image, old.range, layers, old.classes)


@dataclass(frozen=True, slots=True)
class _Head:
    """A spec in JSON."""

    arch: str
    signature: Mapping[str, Any]
    layers: tuple[Mapping[str, Any], ...]
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _FirstHead:
    """A spec in JSON of version 1, which older safetensors files contain."""

    arch: str
    nz: int
    prior: Prior
    image: tuple[int, int, int]
    range: tuple[float, float] | None
    layers: tuple[Mapping[str, Any], ...]
    classes: int = 0


_OPS = {c.__name__: c for c in LAYERS}


def _layers(data: tuple[Mapping[str, Any], ...], where: str) -> tuple[Layer, ...]:
    if len(data) > MOST_LAYERS:
        raise GanExportError(f"{where}: {len(data):,} layers; must be at most {MOST_LAYERS:,}")
    return tuple(_layer(d, where, f"layers[{i}]") for i, d in enumerate(data))


def _layer(data: Mapping[str, Any], where: str, path: str) -> Layer:
    op = data.get("op")
    if not isinstance(op, str) or op not in _OPS:
        raise GanExportError(f"{where}: {path}.op {printable(repr(op), 40)}: must be one of {', '.join(_OPS)}")
    layer: Layer = decode(_OPS[op], {k: v for k, v in data.items() if k != "op"}, where, path)
    return layer


def infer_shapes(spec: GeneratorSpec, sizes: Mapping[str, int] | None = None) -> dict[str, Shape]:
    """Return the shape of each value by name, including the inputs.

    sizes: values of symbolic sizes, by default `Signature.usual_sizes`
    Raises GanExportError for the first layer that doesn't fit its inputs.
    """
    at = spec.signature.usual_sizes() if sizes is None else sizes
    shapes: dict[str, Shape] = {port.name: port.dims(at) for port in spec.signature.inputs}
    labels = {port.name for port in spec.signature.inputs_of("label")}
    for la in spec.layers:
        if la.name in shapes:
            raise GanExportError(f"two values are called {printable(la.name)}")
        if missing := [i for i in la.inputs if i not in shapes]:
            raise GanExportError(f"layer {printable(la.name)} reads {printable(missing[0])}, which nothing gives")
        if la.ARITY is not None and len(la.inputs) != la.ARITY:
            raise GanExportError(f"layer {printable(la.name)} has {len(la.inputs)} inputs")
        kind = type(la).__name__
        if isinstance(la, Embedding | OneHot) and la.inputs[0] not in labels:
            raise GanExportError(f"layer {printable(la.name)} ({kind}): reads what is no label")
        try:
            shape = la.output_shape(*(shapes[i] for i in la.inputs))
        except ValueError as e:
            raise GanExportError(f"layer {printable(la.name)} ({kind}): {e}") from None
        if math.prod(shape) > MOST_VALUES:
            raise GanExportError(f"layer {printable(la.name)} ({kind}) gives {shape}: too large an image")
        if any(d < 1 for d in shape):
            raise GanExportError(f"layer {printable(la.name)} ({kind}) gives nothing: {shape}")
        shapes[la.name] = shape
    return shapes


def flops(spec: GeneratorSpec, sizes: Mapping[str, int] | None = None) -> dict[str, int]:
    """Return the floating-point operations per image of each layer, by name, at `sizes` or the usual ones.

    A multiply-add counts as two; products with padding are included.
    """
    shapes = infer_shapes(spec, sizes)
    return {la.name: la.flops(*(shapes[i] for i in la.inputs)) for la in spec.layers}


def _without_defaults(layer: Layer) -> dict[str, Any]:
    given = asdict(layer)
    return {f.name: given[f.name] for f in fields(layer) if f.default is MISSING or given[f.name] != f.default}


class Chain:
    """A builder of a spec's layers in order; each layer reads the one before it unless `inputs` is given.

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
        """Append a layer and return its name."""
        make: Any = kind
        self.layers.append(make(name=name, inputs=inputs or (self.last,), **settings))
        self.last = name
        return name

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)
