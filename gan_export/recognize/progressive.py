"""What progressively grown generators share: equalized learning rates, pixel norms, and the stage that is in use.

Source: Karras et al. 2018, "Progressive Growing of GANs".  Each layer's weight is multiplied by a gain when it runs
(He's constant, √(2 / fan-in)); here the gain goes into the weight, in float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from gan_export.errors import GanExportError, printable
from gan_export.graph.layers import Activation, Conv, ConvTranspose, Embedding, Linear, PixelNorm, Shape, Upsample
from gan_export.graph.words import UpsampleMode
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.state_dict import DoesNotFitError

EPS = 1e-8


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of the file with a weight and a bias.  key: of its module; array: the name of its weight."""

    key: str
    array: str
    shape: Shape
    gain: float
    bias_gain: float = 1.0

    def scaled(self, factor: float) -> Layer:
        """Return the same with its result times `factor`."""
        return Layer(self.key, self.array, self.shape, self.gain * factor, self.bias_gain * factor)


def he(fan_in: int) -> float:
    """Return He's constant."""
    return math.sqrt(2 / max(fan_in, 1))


def layer(draft: SpecBuilder, path: str, rank: int, *, array: str = "weight", transposed: bool = False) -> Layer:
    """Return the layer at `path`, whose weight has `rank` dimensions, with a gain of 1."""
    module = draft.module(path)
    weight, bias = module.arrays.get(array, ()), module.arrays.get("bias")
    square = rank == 2 or (len(weight) == 4 and weight[2] == weight[3])
    if set(module.arrays) != {array, "bias"} or len(weight) != rank or not square:
        raise DoesNotFitError(f"{printable(path, 80)} is {module}", (f"{path}.{array}", f"{path}.bias"))
    if bias != (weight[1 if transposed else 0],):
        raise DoesNotFitError(f"{printable(path, 80)} is {module}")
    draft.used.add(module.key)
    return Layer(module.key, array, weight, 1.0)


def equalized(read: Layer, *, on: bool = True, bias: bool = False, fan_in: int | None = None) -> Layer:
    """Return the layer with He's constant as its gain.  bias: whether the gain is of the bias too."""
    gain = he(math.prod(read.shape[1:]) if fan_in is None else fan_in) if on else 1.0
    return Layer(read.key, read.array, read.shape, gain, gain if bias else 1.0)


def conv(draft: SpecBuilder, name: str, read: Layer, inputs: tuple[str, ...] | None = None) -> str:
    """Append a convolution that keeps the size."""
    out, inside, kernel, _ = read.shape
    if kernel % 2 == 0:
        raise DoesNotFitError(f"{read.key} has an even kernel, {kernel}")
    draft.add(Conv, name, inputs=inputs, in_channels=inside, out_channels=out, kernel=kernel, padding=kernel // 2)
    _weights(draft, name, read)
    return name


def linear(draft: SpecBuilder, name: str, read: Layer) -> None:
    out, inside = read.shape
    draft.add(Linear, name, in_features=inside, out_features=out)
    _weights(draft, name, read)


def from_pixel(draft: SpecBuilder, name: str, read: Layer, *, flipped: bool = False) -> None:
    """Append what makes an image of one pixel an image as large as the kernel.

    flipped: whether the file has it as a convolution of an image that is padded by the kernel's size less 1
    """
    inside, out = read.shape[1::-1] if flipped else read.shape[:2]
    draft.add(ConvTranspose, name, in_channels=inside, out_channels=out, kernel=read.shape[2])
    if not flipped:
        _weights(draft, name, read)
        return
    gain, bias_gain, shape = read.gain, read.bias_gain, (inside, out, *read.shape[2:])
    draft.derive(
        f"{name}.weight", (f"{read.key}.{read.array}",), shape,
        lambda w: w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1] * gain,
    )  # fmt: skip
    draft.derive(f"{name}.bias", (f"{read.key}.bias",), (out,), lambda b: b * bias_gain)


def _weights(draft: SpecBuilder, name: str, read: Layer) -> None:
    gain, bias_gain = read.gain, read.bias_gain
    layer = draft.chain.layers[-1]
    shapes = layer.parameters()
    draft.derive(f"{name}.weight", (f"{read.key}.{read.array}",), shapes["weight"], lambda w: w * gain)
    draft.derive(f"{name}.bias", (f"{read.key}.bias",), shapes["bias"], lambda b: b * bias_gain)


def leaky(draft: SpecBuilder, name: str, slope: float) -> None:
    draft.add(Activation, f"{name}_act", kind="leaky_relu", slope=slope)


def pixel_norm(draft: SpecBuilder, name: str) -> str:
    return draft.add(PixelNorm, f"{name}_norm", eps=EPS)


def enlarged(draft: SpecBuilder, name: str, mode: UpsampleMode = "nearest", x: str | None = None) -> str:
    return draft.add(Upsample, name, inputs=None if x is None else (x,), factor=2, mode=mode)


def embedded_label(draft: SpecBuilder) -> str | None:
    """Append the label's features, if the file has an embedding of it; return their name."""
    if not draft.state.embeddings:
        return None
    module = draft.state.embeddings[0]
    draft.classes, dim = module.weight
    draft.used_overrides.add("classes")
    given = draft.overrides.classes
    if given is not None and given != draft.classes:
        raise GanExportError(f"classes={given}: the file's label has {draft.classes}")
    draft.shapes["label"] = ()
    return draft.add(Embedding, "embed", module, inputs=("label",), classes=draft.classes, dim=dim)


def stage_of(draft: SpecBuilder, sides: list[int]) -> int:
    """Return the index of the stage that is in use; each of `sides` is the size of one's images.

    The file has them all, and not which of them were trained: the largest, or that of `image_size`.
    """
    largest_first = [(side, i) for i, side in reversed(list(enumerate(sides)))]
    index: int = draft.sizes(largest_first, "the stage")
    return index


def leave_out(draft: SpecBuilder, paths: Iterable[str]) -> None:
    """Leave out modules of the file that the stage in use doesn't need."""
    for path in paths:
        module = draft.maybe(path)
        if module is not None and module.key not in draft.used:
            draft.used.add(module.key)
            draft.idle += module.keys().values()


def agree(draft: SpecBuilder, **known: int) -> None:
    """Hold the settings beside the weights against what the arrays say; raise GanExportError if they contradict."""
    for name, value in known.items():
        says = draft.state.config.get(name, value)
        if says != value:
            shown = printable(str(says), 40)
            raise GanExportError(f"its config says {name} {shown}, its arrays say {value}: not read")
