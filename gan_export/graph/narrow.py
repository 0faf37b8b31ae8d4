"""Narrow a generator's spec: the same layers with fewer channels.

Each layer with a matrix of weights chooses the width of its output, and every other layer keeps or combines widths.  So
the widths of a spec are a few free numbers, one for each set of values that are added, scaled or reshaped into each
other; a union-find over the values finds them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gan_export.errors import GanExportError, printable
from gan_export.graph import layers as la
from gan_export.graph.layers import Layer, Shape
from gan_export.graph.spec import GeneratorSpec, infer_shapes

CHOOSES = (la.Linear, la.Conv, la.ConvTranspose, la.Embedding)  # layers that choose the width of their output
_SAME = (
    la.BatchNorm, la.Affine, la.Activation, la.Elu, la.Scale, la.Upsample, la.Crop, la.Pad, la.MaxPool, la.AvgPool,
    la.PixelNorm, la.InstanceNorm, la.PReLU, la.Clamp, la.ChannelBias, la.BlurUp, la.BlurDown, la.Add, la.Multiply,
    la.ScaleChannels, la.ShiftChannels,
)  # fmt: skip
_OUT = {la.Linear: "out_features", la.Conv: "out_channels", la.ConvTranspose: "out_channels", la.Embedding: "dim"}
_IN = {la.Linear: "in_features", la.Conv: "in_channels", la.ConvTranspose: "in_channels"}

Part = tuple[int, int]  # a width's number, and how many features each of its channels is


def narrowed(spec: GeneratorSpec, share: float, widths: Mapping[str, int] | None = None) -> GeneratorSpec:
    """Return `spec` with `share` of the channels of every hidden layer, rounded, and at least one.

    share:  over 0, below 1 unless `widths` names a layer
    widths: name of a layer with weights -> number of its output channels, instead of the share; values that are added
            to its output get as many.  For a Linear whose output is reshaped to an image, the channels of that image.
    Inputs, outputs and embeddings that are not scaled or added to another value keep their widths.
    Raises GanExportError for a layer whose widths can't be changed, for an unknown name in `widths`, and unless the
    result is narrower than `spec` and nowhere wider.
    """
    found = _Widths(spec)
    new = found.choose(share, widths or {})
    return found.apply(new)


class _Widths:
    """The free widths of a spec: each has a number, the teacher's width, and what keeps it."""

    def __init__(self, spec: GeneratorSpec) -> None:
        self._spec = spec
        self._shapes = infer_shapes(spec)
        self._parent: list[Part] = []  # of each number: another number, and how many of its channels one of ours is
        self._old: list[int] = []
        self._fixed: set[int] = set()
        self._free: set[int] = set()  # numbers that a layer with a matrix of weights chooses
        self._values: dict[str, list[Part]] = {}
        for port in spec.signature.inputs:
            if shape := self._shapes[port.name]:
                self._values[port.name] = self._fix(self._new(shape[0]))
        for layer in spec.layers:
            self._values[layer.name] = self._of(layer)
        for name in spec.outputs:
            self._fix(self._values[name])

    def _new(self, width: int) -> list[Part]:
        self._parent.append((len(self._parent), 1))
        self._old.append(width)
        return [(len(self._old) - 1, 1)]

    def _root(self, part: Part) -> Part:
        """Return a part in the number that its number is a multiple of."""
        number, times = part
        while self._parent[number][0] != number:
            number, more = self._parent[number]
            times *= more
        return number, times

    def _fix(self, parts: list[Part]) -> list[Part]:
        self._fixed |= {number for number, _ in parts}
        return parts

    def _of(self, layer: Layer) -> list[Part]:
        """Return the parts of a layer's output, from those of its inputs."""
        given = [self._values[name] for name in layer.inputs if name in self._values]
        shape = self._shapes[layer.name]
        if isinstance(layer, CHOOSES):
            made = self._new(shape[0])
            if not isinstance(layer, la.Embedding):
                self._free.add(made[0][0])
            return made
        if isinstance(layer, _SAME):
            for other in given[1:]:
                self._join(given[0], other)
            return given[0]
        if isinstance(layer, la.Concat):
            return [part for parts in given for part in parts]
        if isinstance(layer, la.OneHot):
            return self._fix(self._new(shape[0]))
        if isinstance(layer, la.Channels):
            self._fix(given[0])
            return self._fix(self._new(shape[0]))
        if isinstance(layer, la.Reshape):
            return self._reshaped(given[0], self._shapes[layer.inputs[0]], shape)
        if isinstance(layer, la.PixelShuffle):
            return self._divided(given[0], shape[0], layer.factor**2)
        raise GanExportError(
            f"layer {printable(layer.name)} ({type(layer).__name__}) can't be narrowed; a teacher is a chain of "
            "convolutions and Linears, or has residual blocks of them"
        )

    def _reshaped(self, given: list[Part], before: Shape, after: Shape) -> list[Part]:
        if math.prod(before[1:]) == math.prod(after[1:]):
            return given
        if len(after) == 1:
            return [(number, times * math.prod(before[1:])) for number, times in given]
        if len(before) == 1:
            return self._divided(given, after[0], math.prod(after[1:]))
        self._fix(given)
        return self._fix(self._new(after[0]))

    def _divided(self, given: list[Part], width: int, pieces: int) -> list[Part]:
        """Return the parts of a value with `width` channels, `pieces` of the given value's channels each."""
        made = self._new(width)
        number, times = self._root(given[0])
        if len(given) > 1 or times != 1 or self._old[number] != width * pieces:
            self._fix(given)
            return self._fix(made)
        self._tie(number, (made[0][0], pieces))
        return made

    def _join(self, some: list[Part], others: list[Part]) -> None:
        """Make two values of the same width equally wide for good."""
        if len(some) != len(others):
            self._fix(some)
            self._fix(others)
            return
        for one, other in zip(some, others, strict=True):
            (a, times), (b, more) = self._root(one), self._root(other)
            if a == b:
                continue
            if times % more == 0:
                self._tie(b, (a, times // more))
            elif more % times == 0:
                self._tie(a, (b, more // times))
            else:
                self._fix([one, other])

    def _tie(self, number: int, to: Part) -> None:
        self._parent[number] = to
        root = self._root(to)[0]
        for kept in (self._fixed, self._free):
            if number in kept:
                kept.add(root)

    def choose(self, share: float, widths: Mapping[str, int]) -> list[int]:
        """Return the new width of each number; see `narrowed`."""
        fixed = {self._root((number, 1))[0] for number in self._fixed}
        free = {self._root((number, 1))[0] for number in self._free} - fixed
        new = {n: max(1, round(self._old[n] * share)) if n in free else self._old[n] for n in free | fixed}
        for name, width in widths.items():
            number = self._named(name)
            if number not in free:
                raise GanExportError(f"{printable(name)} keeps its width: an input, an output or a label fixes it")
            if not 1 <= width <= self._old[number]:
                raise GanExportError(
                    f"{printable(name)}: {width} channels; a student has 1 to {self._old[number]}, the teacher's number"
                )
            new[number] = width
        if not any(new[n] < self._old[n] for n in free):
            raise GanExportError(
                "the student is as wide as its teacher; give fewer channels, such as channels=0.5"
                if free
                else "nothing in the teacher can be narrowed: its inputs and outputs fix every width"
            )
        return [self._width((n, 1), new) for n in range(len(self._old))]

    def _width(self, part: Part, new: Mapping[int, int]) -> int:
        number, times = self._root(part)
        return times * new.get(number, self._old[number])

    def _named(self, name: str) -> int:
        if not any(la_.name == name and isinstance(la_, CHOOSES) for la_ in self._spec.layers):
            names = ", ".join(la_.name for la_ in self._spec.layers if isinstance(la_, CHOOSES))
            raise GanExportError(f"no layer with weights is called {printable(name, 60)}; there are {names}")
        return self._root(self._values[name][0])[0]

    def apply(self, new: list[int]) -> GeneratorSpec:
        """Return the spec with these widths."""
        wide = {name: sum(times * new[n] for n, times in parts) for name, parts in self._values.items()}
        made: list[Layer] = []
        for layer in self._spec.layers:
            changed: dict[str, Any] = {}
            if type(layer) in _OUT:
                changed[_OUT[type(layer)]] = wide[layer.name]
            if type(layer) in _IN:
                changed[_IN[type(layer)]] = wide[layer.inputs[0]]
            elif "channels" in type(layer).__dataclass_fields__:
                changed["channels"] = wide[layer.name]
            elif isinstance(layer, la.Reshape):
                changed["shape"] = (wide[layer.name], *layer.shape[1:])
            made.append(replace(layer, **changed))
        return GeneratorSpec(self._spec.arch, self._spec.signature, tuple(made), self._spec.outputs)
