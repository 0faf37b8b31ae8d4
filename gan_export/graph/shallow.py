"""Leave layers out of a generator's spec: the others stay in their order and read what the omitted ones read."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from gan_export.errors import GanExportError, printable
from gan_export.graph import layers as la
from gan_export.graph.layers import Layer, Shape
from gan_export.graph.narrow import CHOOSES
from gan_export.graph.spec import GeneratorSpec, infer_shapes

# What acts on the values of one layer, and is left out with it.
_FOLLOWERS = (
    la.BatchNorm, la.Affine, la.Activation, la.Elu, la.PReLU, la.InstanceNorm, la.PixelNorm, la.ChannelBias,
)  # fmt: skip
_INPUT_WIDTHS = {la.Linear: "in_features", la.Conv: "in_channels", la.ConvTranspose: "in_channels"}


def without(spec: GeneratorSpec, names: Iterable[str]) -> GeneratorSpec:
    """Return `spec` without the named layers, and without every layer that only they need.

    names: of sums and of layers with weights.  A sum is replaced by the one of its inputs that has fewer weights of its
           own: the shortcut of a residual block.  A layer with weights takes the norm and the activation behind it
           along, and the next layer reads its input.
    Raises GanExportError for another name, and if what remains doesn't generate images of the same shape from the same
    inputs.
    """
    taken: dict[str, str] = {}  # a value -> the value that replaces it
    for name in names:
        taken |= _replacing(spec, name)
    if not taken:
        return spec

    def last(name: str) -> str:
        while name in taken:
            name = taken[name]
        return name

    kept = [replace(x, inputs=tuple(map(last, x.inputs))) for x in spec.layers if x.name not in taken]
    outputs = tuple(map(last, spec.outputs))
    needed = _ancestors(kept, outputs)
    shown = printable(", ".join(sorted(names)), 120)
    if unused := [port.name for port in spec.signature.inputs if port.name not in needed]:
        raise GanExportError(f"without {shown}, no layer reads the input {unused[0]}; leave out fewer layers")
    shapes = _input_shapes(spec)
    fitted = [_fitted(x, shapes, shown) for x in kept if x.name in needed]
    before = infer_shapes(spec)
    if tuple(shapes[name] for name in outputs) != tuple(before[name] for name in spec.outputs):
        raise GanExportError(
            f"without {shown}, the images are {_size(shapes[outputs[0]])}, not {_size(before[spec.outputs[0]])}; only "
            "layers that keep height and width can be left out"
        )
    return GeneratorSpec(spec.arch, spec.signature, tuple(fitted), outputs)


def _input_shapes(spec: GeneratorSpec) -> dict[str, Shape]:
    at = spec.signature.usual_sizes()
    return {port.name: port.dims(at) for port in spec.signature.inputs}


def _replacing(spec: GeneratorSpec, name: str) -> dict[str, str]:
    """Return the values that vanish with a layer, each with the value that its readers get instead."""
    layer = next((x for x in spec.layers if x.name == name), None)
    possible = [x.name for x in spec.layers if isinstance(x, (la.Add, *_INPUT_WIDTHS))]
    if layer is None or name not in possible:
        raise GanExportError(f"without={printable(name, 60)}: must be one of {printable(', '.join(possible), 600)}")
    if isinstance(layer, la.Add):
        return {name: min(layer.inputs, key=lambda side: _own_weights(spec, side, layer.inputs))}
    taken, end = {name: layer.inputs[0]}, name
    while True:
        readers = [x for x in spec.layers if end in x.inputs]
        if len(readers) != 1 or not isinstance(readers[0], _FOLLOWERS) or end in spec.outputs:
            return taken
        end = readers[0].name
        taken[end] = readers[0].inputs[0]


def _own_weights(spec: GeneratorSpec, side: str, both: tuple[str, ...]) -> int:
    """Return the number of weights that only this input of a sum needs."""
    others = set().union(*(_ancestors(spec.layers, (other,)) for other in both if other != side))
    own = _ancestors(spec.layers, (side,)) - others
    return sum(math.prod(s) for x in spec.layers if x.name in own for s in x.parameters().values())


def _ancestors(layers: Iterable[Layer], names: Collection[str]) -> set[str]:
    """Return these values and all that they are computed from."""
    found = set(names)
    for layer in reversed(list(layers)):
        if layer.name in found:
            found.update(layer.inputs)
    return found


def _fitted(layer: Layer, shapes: dict[str, Shape], shown: str) -> Layer:
    """Return a layer with the width of its input, and note the shape of its output."""
    given = tuple(shapes[name] for name in layer.inputs)
    changed: dict[str, Any] = {}
    if type(layer) in _INPUT_WIDTHS:
        changed[_INPUT_WIDTHS[type(layer)]] = given[0][0]
    elif "channels" in type(layer).__dataclass_fields__ and not isinstance(layer, CHOOSES):
        changed["channels"] = given[0][0]
    fitted: Layer = replace(layer, **changed) if changed else layer
    try:
        shapes[layer.name] = fitted.output_shape(*given)
    except ValueError as e:
        raise GanExportError(f"without {shown}, layer {printable(layer.name)} fits no more: {e}") from None
    return fitted


def _size(shape: Shape) -> str:
    return "x".join(map(str, shape))
