"""Plan the workspace of a generator's C source: the offset and the order of each value's numbers.

An image is stored as [row][column][channel], and a volume as [slice][row][column][channel], so that a product reads
contiguous numbers.  Every value is a part of one workspace that the caller owns; a part is reused once its last reader
has run.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from gan_export.graph.layers import (
    Activation,
    Affine,
    Conv,
    ConvNd,
    ConvTranspose,
    ConvTransposeNd,
    Dropout,
    Layer,
    Linear,
    Reshape,
    Scale,
    Shape,
)
from gan_export.graph.spec import GeneratorSpec, infer_shapes
from gan_export.graph.views import ImageToImage, LatentImage, takes_image

PANEL = 16  # output channels of one product
IN_PLACE = (Activation, Affine, Dropout, Scale)


@dataclass(frozen=True, slots=True)
class Grid:
    """The (rows, columns, channels) of a value, and its slices if it is a volume; a vector is one pixel."""

    h: int
    w: int
    c: int
    d: int = 1

    @property
    def size(self) -> int:
        """The number of values."""
        return self.d * self.h * self.w * self.c

    @property
    def plain(self) -> bool:
        """Whether [row][column][channel] and [channel][row][column] are the same order."""
        return self.c in (1, self.size)


@dataclass(frozen=True, slots=True)
class Step:
    """A layer, and its memory.

    at:      offset of its output in the workspace, in floats; None if the output is a view of the input
    in_place: whether the output takes the memory of its input
    scratch: (offset, floats) of other memory that it needs, by the name in its code
    """

    layer: Layer
    at: int | None
    in_place: bool
    scratch: dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a generator.

    grids:     of every value
    flattened: Linear layers whose rows are reordered, name -> the image that their output is read as
    views:     Reshape layers that change nothing in memory
    workspace: floats that the caller must provide
    input_at:  offset of the image that goes in, which is in the workspace
    """

    spec: GeneratorSpec
    of: LatentImage | ImageToImage
    grids: dict[str, Grid]
    flattened: dict[str, Grid]
    views: frozenset[str]
    steps: tuple[Step, ...]
    workspace: int
    input_at: int = 0


def grid(shape: Shape) -> Grid:
    """Return the grid of a shape (C,), (C, L), (C, H, W) or (C, D, H, W)."""
    depth, height, width = (1, 1, 1, *shape[1:])[-3:]
    return Grid(height, width, math.prod(shape[:1]), depth)


def is_folded(layer: Layer) -> bool:
    """Return whether a layer has so few output channels that all elements of its kernel fit in shared panels.

    Then one product computes the whole neighborhood of an input pixel, and neighborhoods are added up.  A convolution
    of stride 1 is a transposed one with its kernel rotated.
    """
    match layer:
        case ConvTranspose(out_channels=o, kernel=k):
            return o < PANEL and k > 1
        case Conv(out_channels=o, kernel=k, stride=1, padding=p):
            return o < PANEL and k > 1 and p < k
        case ConvTransposeNd(out_channels=o, kernel=sides):
            return o < PANEL and math.prod(sides) > 1
        case ConvNd(out_channels=o, kernel=sides, stride=strides, padding=paddings):
            fits = all(p < k for p, k in zip(paddings, sides, strict=True))
            return o < PANEL and math.prod(sides) > 1 and math.prod(strides) == 1 and fits
    return False


@dataclass(frozen=True, slots=True)
class Window:
    """A convolution's (depth, height, width): along those that it doesn't have, kernel and stride are 1.

    padding: that of the transposed convolution that computes a folded layer
    """

    kernel: tuple[int, int, int]
    stride: tuple[int, int, int]
    padding: tuple[int, int, int]
    extra: tuple[int, int, int]

    @property
    def elements(self) -> int:
        """The number of the kernel's elements."""
        return math.prod(self.kernel)


def window(layer: ConvNd | ConvTransposeNd) -> Window:
    """Return the window of a convolution of volumes or signals."""
    extra = layer.output_padding if isinstance(layer, ConvTransposeNd) else (0,) * len(layer.kernel)
    padding = layer.padding
    if isinstance(layer, ConvNd) and is_folded(layer):
        padding = tuple(k - 1 - p for k, p in zip(layer.kernel, layer.padding, strict=True))
    return Window(_sides(layer.kernel, 1), _sides(layer.stride, 1), _sides(padding, 0), _sides(extra, 0))


def _sides(given: tuple[int, ...], rest: int) -> tuple[int, int, int]:
    depth, height, width = (rest, rest, *given)[-3:]
    return depth, height, width


def folded_padding(layer: Conv | ConvTranspose) -> int:
    """Return the padding of the transposed convolution that computes a folded layer."""
    return layer.kernel - 1 - layer.padding if isinstance(layer, Conv) else layer.padding


def make(spec: GeneratorSpec) -> Plan:
    """Plan a lowered spec."""
    takes = takes_image(spec.signature)
    of = ImageToImage.of(spec.signature, "c") if takes else LatentImage.of(spec.signature, "c")
    grids = {name: grid(shape) for name, shape in infer_shapes(spec).items()}
    flattened, views = _orders(spec, grids)
    by_name = {layer.name: layer for layer in spec.layers}
    home = {port.name: port.name for port in spec.signature.inputs}  # value -> the first value in the same memory
    last = {}  # the same -> the last step that reads it
    for i, layer in enumerate(spec.layers):
        home[layer.name] = home[layer.inputs[0]] if layer.name in views else layer.name
        last[home[layer.name]] = i
        last.update({home[name]: i for name in layer.inputs})
    last[home[spec.outputs[0]]] = len(spec.layers)
    taken: dict[str, tuple[int, int]] = {}  # home -> (from, to) in the workspace
    steps: list[Step] = []
    top = 0

    def place(key: str, size: int) -> int:
        nonlocal top
        at = 0
        for start, end in sorted(taken.values()):
            if at + size <= start:
                break
            at = max(at, end)
        taken[key] = (at, at + size)
        top = max(top, at + size)
        return at

    input_at = place(spec.signature.inputs[0].name, math.prod(of.input)) if isinstance(of, ImageToImage) else 0
    for i, layer in enumerate(spec.layers):
        source = home[layer.inputs[0]]
        at: int | None = None
        in_place = False
        scratch: dict[str, tuple[int, int]] = {}
        if layer.name not in views:
            if isinstance(layer, IN_PLACE) and source in taken and last[source] == i:
                taken[layer.name] = taken.pop(source)
                at = taken[layer.name][0]
                in_place = True
                home = {name: layer.name if at_home == source else at_home for name, at_home in home.items()}
            else:
                at = place(layer.name, grids[layer.name].size)
            if is_folded(layer):
                kernel = by_name[layer.name]
                assert isinstance(kernel, Conv | ConvTranspose | ConvNd | ConvTransposeNd)
                scratch = {
                    name: (place(f"{layer.name}/{name}", size), size)
                    for name, size in _folding(kernel, grids[layer.inputs[0]]).items()
                }
        steps.append(Step(layer, at, in_place, scratch))
        taken = {key: part for key, part in taken.items() if "/" not in key and last[key] > i}
    return Plan(spec, of, grids, flattened, frozenset(views), tuple(steps), max(top, 1), input_at)


def wide(layer: Conv | ConvTranspose | ConvNd | ConvTransposeNd, source: Grid) -> Grid:
    """Return the grid that the neighborhoods of a folded layer's input reach, before the padding is cut off."""
    if isinstance(layer, ConvNd | ConvTransposeNd):
        of = window(layer)
        settings = zip((source.d, source.h, source.w), of.kernel, of.stride, of.extra, strict=True)
        d, h, w = ((side - 1) * s + k + e for side, k, s, e in settings)
        return Grid(h, w, layer.out_channels, d)
    stride = layer.stride if isinstance(layer, ConvTranspose) else 1
    extra = layer.output_padding if isinstance(layer, ConvTranspose) else 0
    h, w = ((side - 1) * stride + layer.kernel + extra for side in (source.h, source.w))
    return Grid(h, w, layer.out_channels)


def _folding(layer: Conv | ConvTranspose | ConvNd | ConvTransposeNd, source: Grid) -> dict[str, int]:
    elements = window(layer).elements if isinstance(layer, ConvNd | ConvTransposeNd) else layer.kernel**2
    return {"patches": source.w * elements * layer.out_channels, "wide": wide(layer, source).size}


def _orders(spec: GeneratorSpec, grids: dict[str, Grid]) -> tuple[dict[str, Grid], set[str]]:
    """Return the Linear layers that can write an image's order directly, and the Reshapes that then do nothing."""
    readers = Counter(name for layer in spec.layers for name in layer.inputs)
    by_name = {layer.name: layer for layer in spec.layers}
    flattened: dict[str, Grid] = {}
    views = set()
    for layer in spec.layers:
        if not isinstance(layer, Reshape):
            continue
        before, after = grids[layer.inputs[0]], grids[layer.name]
        if (before.plain and after.plain) or before == after:
            views.add(layer.name)
            continue
        source = by_name.get(layer.inputs[0])
        while isinstance(source, Activation | Scale) and readers[source.name] == 1:
            source = by_name.get(source.inputs[0])
        if isinstance(source, Linear) and readers[source.name] == 1 and readers[layer.inputs[0]] == 1:
            flattened[source.name] = after
            views.add(layer.name)
    return flattened, views
