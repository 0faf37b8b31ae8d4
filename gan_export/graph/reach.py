"""Compute how far a pixel of an output sees into the input: what tiles of an image need around themselves.

A value's pixel i along an axis reads the input's pixels step*i + low .. step*i + high.  Each kind of layer maps these
three numbers to those of its output.  Both axes have the same numbers, because all kernels are square.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from gan_export.graph import layers as kinds
from gan_export.graph.layers import Layer
from gan_export.graph.spec import GeneratorSpec, infer_shapes

MOST_PIXELS = 1 << 16


@dataclass(frozen=True, slots=True)
class Reach:
    """The part of its input that a generator of images reads.

    pixels:   an output depends on no input that is more pixels away
    multiple: pixels that tiles start at multiples of, so that strides meet the same pixels as in the whole image
    values:   the most values that are in memory at once, per pixel of the input
    whole:    the kind of the first layer that reads the whole image, "" if none does; pixels and multiple are 0 then
    """

    pixels: int = 0
    multiple: int = 0
    values: int = 0
    whole: str = ""


@dataclass(frozen=True, slots=True)
class _Window:
    step: Fraction
    low: Fraction
    high: Fraction

    def read_by(self, step: Fraction, low: Fraction, high: Fraction) -> _Window:
        """Return the window of a layer whose pixel i reads this value's pixels step*i + low .. step*i + high."""
        return _Window(self.step * step, self.low + self.step * low, self.high + self.step * high)


_POINTWISE = (
    kinds.Activation, kinds.Add, kinds.Affine, kinds.BatchNorm, kinds.Clamp, kinds.Concat, kinds.Dropout, kinds.Elu,
    kinds.Multiply, kinds.PReLU, kinds.Scale,
)  # fmt: skip


def reach_of(spec: GeneratorSpec) -> Reach | None:
    """Return how far the first output of `spec` reads its image; None if no input is an image."""
    image = next((p for p in spec.signature.inputs if p.kind == "image"), None)
    if image is None:
        return None
    values = _most_values(spec, image.name)
    windows = {image.name: _Window(Fraction(1), Fraction(0), Fraction(0))}
    for layer in spec.layers:
        found = [windows[name] for name in layer.inputs if name in windows]
        if not found:
            continue
        joined = _joined(found)
        window = None if joined is None else _behind(layer, joined)
        if window is None:
            return Reach(values=values, whole=type(layer).__name__)
        windows[layer.name] = window
    last = windows.get(spec.outputs[0])
    if last is None:
        return Reach(values=values, whole=type(spec.layers[-1]).__name__)
    pixels = max(math.ceil(-last.low), math.floor(last.high + 1 - last.step), 0)
    multiple = math.lcm(*(w.step.numerator for w in windows.values()))
    if pixels > MOST_PIXELS or multiple > MOST_PIXELS:
        return Reach(values=values, whole=type(spec.layers[-1]).__name__)
    return Reach(pixels, multiple, values)


def _joined(windows: list[_Window]) -> _Window | None:
    """Return what covers all of them; None for values of different scales."""
    if any(w.step != windows[0].step for w in windows):
        return None
    return _Window(windows[0].step, min(w.low for w in windows), max(w.high for w in windows))


def _behind(layer: Layer, window: _Window) -> _Window | None:
    """Return the window of a layer that reads `window`; None if it reads the whole image, or isn't known here."""
    one, zero = Fraction(1), Fraction(0)
    match layer:
        case kinds.Conv():
            return window.read_by(*_of_taps(layer.stride, layer.kernel, layer.padding))
        case kinds.GroupedConv():
            return window.read_by(*_of_taps(1, layer.kernel, layer.padding))
        case kinds.ConvTranspose() | kinds.GroupedConvTranspose():
            step = Fraction(1, layer.stride)
            return window.read_by(step, step * (layer.padding - layer.kernel + 1), step * layer.padding)
        case kinds.Pad():
            return window.read_by(one, Fraction(-layer.size), Fraction(-layer.size))
        case kinds.AvgPool() | kinds.MaxPool():
            return window.read_by(*_of_taps(layer.size, layer.size, 0))
        case kinds.PixelUnshuffle():
            return window.read_by(*_of_taps(layer.factor, layer.factor, 0))
        case kinds.PixelShuffle():
            return window.read_by(Fraction(1, layer.factor), Fraction(1 - layer.factor, layer.factor), zero)
        case kinds.Upsample():
            step = Fraction(1, layer.factor)
            if layer.mode == "nearest":
                return window.read_by(step, step - 1, zero)
            return window.read_by(step, (step - 3) / 2, (step + 1) / 2)  # floor and floor + 1 of (i + 1/2) step - 1/2
        case kinds.BlurDown():
            return window.read_by(*_of_taps(2, 3, 1))
        case kinds.BlurUp():  # i reads (i - 2) / 2 .. (i + 1) / 2
            return window.read_by(Fraction(1, 2), Fraction(-1), Fraction(1, 2))
    return window if isinstance(layer, _POINTWISE) else None


def _of_taps(stride: int, kernel: int, padding: int) -> tuple[Fraction, Fraction, Fraction]:
    return Fraction(stride), Fraction(-padding), Fraction(kernel - 1 - padding)


def _most_values(spec: GeneratorSpec, image: str) -> int:
    """Return the most values that wait to be read, with a layer's inputs and output, per pixel of `image`."""
    shapes = infer_shapes(spec)
    area = math.prod(shapes[image][1:])
    last_read = {name: i for i, layer in enumerate(spec.layers) for name in layer.inputs}
    last_read |= dict.fromkeys(spec.outputs, len(spec.layers))
    alive = {image: math.prod(shapes[image])}
    most = 0
    for i, layer in enumerate(spec.layers):
        alive[layer.name] = math.prod(shapes[layer.name])
        most = max(most, sum(alive.values()))
        alive = {name: count for name, count in alive.items() if last_read.get(name, -1) > i}
    return -(-most // area)
