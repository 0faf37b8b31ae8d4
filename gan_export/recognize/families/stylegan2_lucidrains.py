"""lucidrains' stylegan2-pytorch: `S.net.{i}`, `initial_conv`, `blocks.{i}`, `attns.{i}`; `GE` and `SE` are averages.

z is scaled to length 1, one w serves a whole block, convolutions see the image enlarged, and one plane of noise,
uniform in [0, 1), goes through a fully connected layer to each convolution.  Images are in [0, 1].
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gan_export.errors import GanExportError
from gan_export.graph.layers import (
    Activation,
    Add,
    ChannelBias,
    Clamp,
    Conv,
    ConvTranspose,
    Crop,
    Gelu,
    ModulatedConstant,
    Reshape,
    Scale,
    ScaleChannels,
    Upsample,
)
from gan_export.graph.ports import Uniform
from gan_export.recognize.attention import attended, channel_norm, only, reshaped
from gan_export.recognize.blur import blurred
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.options import Assumption
from gan_export.recognize.state_dict import DoesNotFitError
from gan_export.recognize.style import StyleBuilder
from gan_export.recognize.style_parts import SLOPE, Dense, Mapping

Doubles = npt.NDArray[np.float64]
MAPPING_RATE = 0.1
TINY = 1e-24  # z is divided by at least 1e-12
MEAN_OF_NOISE = 0.5


def _dense(draft: SpecBuilder, path: str, *, offset: float = 0.0) -> Dense:
    """A fully connected layer, whose gain is 1."""
    module = draft.module(path)
    inside, out = module.linear
    only(draft, path, {"weight": (out, inside), "bias": (out,)})
    return Dense(f"{module.key}.weight", f"{module.key}.bias", (out, inside), 1.0, offset=offset)


def _mapping(draft: SpecBuilder, rows: int) -> Mapping:
    """The style vectorizer.  Its activations have no gain, so the √2 of an active Dense is taken back."""
    numbers = [int(i) for (i,), _ in draft.matching(r"S\.net\.(\d{1,3})")]
    if not numbers or numbers != list(range(0, 2 * len(numbers), 2)):
        raise DoesNotFitError("no S.net.0, S.net.2, ... without a gap", ("S.net.0.weight",))
    layers = [_dense(draft, f"S.net.{i}") for i in numbers]
    width = layers[0].shape[1]
    if any(layer.shape != (width, width) for layer in layers):
        raise DoesNotFitError("the layers of S.net aren't all of one width")
    rate = MAPPING_RATE / math.sqrt(2)
    # PixelNorm gives z a mean square of 1, and F.normalize a sum of squares of 1.
    gains = [rate / math.sqrt(width), *[rate] * (len(layers) - 1)]
    made = (Dense(d.weight, d.bias, d.shape, g, rate, active=True) for d, g in zip(layers, gains, strict=True))
    return Mapping(tuple(made), None, None, rows, TINY)


def _build(draft: SpecBuilder) -> None:
    count = len(draft.numbered("blocks.#.conv1"))
    mapping = _mapping(draft, count)
    parts = StyleBuilder(draft)
    parts.start(mapping, "none", (4 << (count - 1),), Uniform(0.0, 1.0))
    if parts.noise == "const":
        raise GanExportError("noise=const: the file stores no noise; none or seed")
    if parts.noise == "none":
        draft.notes.append("its code adds noise of 0 to 1, new for each image; without it 0.5, its mean, is added")
    draft.notes.append("its own script truncates by psi=0.75 by default")
    draft.assumed.append(Assumption("the mapping's learning rate multiplier is", f"{MAPPING_RATE:g}", ""))
    start = _Start(draft, parts)
    x: str | None = start.from_w() if draft.maybe("to_initial_block") is not None else None
    image = None
    for i, w in enumerate(parts.ws):
        if draft.maybe(f"attns.{i}.0.fn.fn.to_q") is not None:
            if x is None:
                raise GanExportError("attention of the learned constant, before the first block, isn't read")
            x = _attention(draft, f"attns.{i}", f"attention{i}", x)
        if i and x is not None:
            x = draft.add(Upsample, f"up{i}", inputs=(x,), factor=2, mode="bilinear")
        x = _styled(draft, parts, f"blocks.{i}", 1, w, x, start)
        x = _styled(draft, parts, f"blocks.{i}", 2, w, x, start)
        made = _to_image(draft, parts, f"blocks.{i}.to_rgb", x, w)
        image = made if image is None else draft.add(Add, f"image{i}", inputs=(image, made))
        if i < count - 1:
            draft.add(Upsample, f"image{i}_up", inputs=(image,), factor=2, mode="bilinear")
            image = blurred(draft, f"blocks.{i}.to_rgb.upsample.1", f"image{i}_blur")
    draft.used_overrides.add("raw")
    if not draft.overrides.raw:
        draft.add(Scale, "scale", factor=2.0, offset=-1.0)
        draft.add(Clamp, "clamp", low=-1.0, high=1.0)
        draft.range = (-1.0, 1.0)


class _Start:
    """The first map: a convolution of a learned constant, or of a map made from the mean of all w."""

    def __init__(self, draft: SpecBuilder, parts: StyleBuilder) -> None:
        self.draft, self.parts = draft, parts
        conv = draft.module("initial_conv")
        self.channels = conv.conv[1]
        only(draft, "initial_conv", {"weight": (self.channels, self.channels, 3, 3), "bias": (self.channels,)})
        self.key = conv.key

    def from_w(self) -> str:
        """Append the first map, made from w."""
        draft, ws = self.draft, self.parts.ws
        module = draft.module("to_initial_block")
        inside, out = module.transposed
        only(draft, "to_initial_block", {"weight": (inside, out, 4, 4)})
        draft.chain.last = ws[0]
        if len(set(ws)) > 1:
            for i, w in enumerate(ws[1:], 1):
                draft.add(Add, f"w_sum{i}", inputs=(draft.last, w))
            draft.add(Scale, "w_mean", factor=1 / len(ws), offset=0.0)
        draft.add(Reshape, "seed", shape=(inside, 1, 1))
        draft.add(ConvTranspose, "first", in_channels=inside, out_channels=out, kernel=4, bias=False)
        reshaped(draft, "first.weight", f"{module.key}.weight", (inside, out, 4, 4))
        draft.add(Conv, "initial", in_channels=out, out_channels=self.channels, kernel=3, padding=1)
        reshaped(draft, "initial.weight", f"{self.key}.weight", (self.channels, out, 3, 3))
        reshaped(draft, "initial.bias", f"{self.key}.bias", (self.channels,))
        return draft.last

    def constant(self, name: str, style: str) -> None:
        """Append the first map, a constant, times a style."""
        draft, shape = self.draft, (self.channels, 4, 4)
        only(draft, "", {"initial_block": (1, *shape)})
        draft.add(ModulatedConstant, name, inputs=(style,), shape=shape)
        keys = ("initial_block", f"{self.key}.weight", f"{self.key}.bias")
        draft.derive(f"{name}.weight", keys, shape, _convolved)


def _convolved(x: Doubles, weight: Doubles, bias: Doubles) -> Doubles:
    """Return the convolution of x (1, C, 4, 4) with a kernel of 3x3, padded to keep the size."""
    wide = np.pad(x[0], ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), axis=(1, 2))
    return np.asarray(np.einsum("ihwkl,oikl->ohw", windows, weight) + bias[:, None, None])


def _styled(  # noqa: PLR0917
    draft: SpecBuilder, parts: StyleBuilder, path: str, number: int, w: str, x: str | None, start: _Start
) -> str:
    """Append a styled convolution, its noise and its activation."""
    name = f"{path.replace('.', '')}_conv{number}"
    conv = draft.module(f"{path}.conv{number}")
    inside, out = conv.conv
    shape = (out, inside, 3, 3)
    only(draft, f"{path}.conv{number}", {"weight": shape})
    style = parts.dense(f"{name}_style", _dense(draft, f"{path}.to_style{number}", offset=1.0), w)
    if x is None:
        start.constant(f"{name}_const", style)
    else:
        draft.add(ScaleChannels, f"{name}_in", inputs=(x, style))
    draft.add(Conv, name, in_channels=inside, out_channels=out, kernel=3, padding=1, bias=False)
    reshaped(draft, f"{name}.weight", f"{conv.key}.weight", shape)
    parts.demodulate(name, draft.last, style, f"{conv.key}.weight", shape, 1.0, 1.0)
    _noise(draft, parts, f"{path}.to_noise{number}", f"{name}_noise")
    return draft.add(Activation, f"{name}_act", kind="leaky_relu", slope=SLOPE)


def _noise(draft: SpecBuilder, parts: StyleBuilder, path: str, name: str) -> None:
    """Add the noise, of which each channel takes its own share.  The port has what the code transposes."""
    x, (channels, side, _) = draft.last, draft.shape
    share = only(draft, path, {"weight": (channels, 1), "bias": (channels,)})
    keys = (f"{share.key}.weight", f"{share.key}.bias")
    if parts.noise != "seed":
        draft.add(ChannelBias, name, channels=channels)
        draft.derive(f"{name}.bias", keys, (channels,), lambda w, b: w[:, 0] * MEAN_OF_NOISE + b)
        return
    source = parts.noises[0].name
    if draft.shapes[source][1] != side:
        cropped = f"noise_{side}"
        if cropped not in draft.shapes:
            draft.add(Crop, cropped, inputs=(source,), top=0, left=0, height=side, width=side)
        source = cropped
    draft.add(Conv, f"{name}_share", inputs=(source,), in_channels=1, out_channels=channels, kernel=1)
    reshaped(draft, f"{name}_share.weight", keys[0], (channels, 1, 1, 1))
    reshaped(draft, f"{name}_share.bias", keys[1], (channels,))
    draft.add(Add, name, inputs=(x, f"{name}_share"))


def _to_image(draft: SpecBuilder, parts: StyleBuilder, path: str, x: str, w: str) -> str:
    """Append the styled convolution of 1x1 to the channels of the image."""
    name = path.replace(".", "")
    conv = draft.module(f"{path}.conv")
    inside, out = conv.conv
    only(draft, f"{path}.conv", {"weight": (out, inside, 1, 1)})
    parts.modulate(name, _dense(draft, f"{path}.to_style", offset=1.0), x, w, "", ())
    draft.add(Conv, name, in_channels=inside, out_channels=out, kernel=1, bias=False)
    reshaped(draft, f"{name}.weight", f"{conv.key}.weight", (out, inside, 1, 1))
    return name


def _attention(draft: SpecBuilder, path: str, name: str, x: str) -> str:
    """Append x + attention of it, and that + what two convolutions of 1x1 give."""
    draft.chain.last = x
    normed = channel_norm(draft, f"{path}.0.fn.norm", f"{name}_norm")
    inner = f"{path}.0.fn.fn"
    attended(draft, f"{name}_linear", normed, f"{inner}.to_q", f"{inner}.to_kv", linear=True)
    draft.add(Gelu, f"{name}_gelu")
    draft.conv(f"{name}_out", draft.module(f"{inner}.to_out"))
    x = draft.add(Add, f"{name}_sum", inputs=(x, draft.last))
    channel_norm(draft, f"{path}.1.fn.norm", f"{name}_norm2")
    draft.conv(f"{name}_wide", draft.module(f"{path}.1.fn.fn.0"))
    draft.add(Activation, f"{name}_act", kind="leaky_relu", slope=SLOPE)
    draft.conv(f"{name}_narrow", draft.module(f"{path}.1.fn.fn.2"))
    return draft.add(Add, name, inputs=(x, draft.last))


FAMILY = Family("stylegan2_lucidrains", "lucidrains' stylegan2-pytorch", _build, output="none")
