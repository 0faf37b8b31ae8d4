"""NVlabs' StyleGAN3, T (translation) and R (rotation): `synthesis.input`, `synthesis.L{i}_{size}_{channels}`.

A layer is a modulated convolution, a bias, and a leaky ReLU between two filters that change the sampling rate.
Its code normalizes the styles by their mean square over the whole batch, which demodulation cancels but for its
epsilon of 1e-8; here that is the mean square of each image's own, so no image depends on its neighbors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gan_export.errors import printable
from gan_export.graph.layers import (
    Activation,
    ChannelBias,
    Clamp,
    Conv,
    Demodulate,
    FilterDown,
    FilterUp,
    FourierFeatures,
    PixelNorm,
    Scale,
    ScaleChannels,
)
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.nvlabs import CLAMP, NvlabsFile, limit_of, mapping_of, number
from gan_export.recognize.options import Assumption
from gan_export.recognize.state_dict import DoesNotFitError
from gan_export.recognize.style import StyleBuilder
from gan_export.recognize.style_parts import EPS, SLOPE, Mapping

Doubles = npt.NDArray[np.float64]
FILTER_SIZE = 6  # taps of a filter per step of the lower rate
MARGIN = 10  # values beyond the image on each side, up to the last layers
BANDWIDTH = 2.0  # of the first layer, in cycles per image
OUTPUT_SCALE = 0.25
GAIN = math.sqrt(2)


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer by its name, and the size of what it takes."""

    path: str
    name: str
    size: int
    channels: int
    inside: int


def layers_of(draft: SpecBuilder, *, gap: bool = False) -> list[_Layer]:
    """Return the layers in order.  gap: whether one number may be missing, as in an enlarged generator."""
    found = sorted(
        (int(i), int(size), int(channels))
        for i, size, channels in (g for g, _ in draft.matching(r"synthesis\.L(\d{1,2})_(\d{1,4})_(\d{1,4})"))
    )
    absent = set(range(len(found) + gap)) - {i for i, _, _ in found}
    if len({i for i, _, _ in found}) != len(found) or len(absent) > gap or len(found) < 3 or 0 in absent:
        raise DoesNotFitError("no layers synthesis.L0_..., L1_... without a gap", ("synthesis.L0_36_512.weight",))
    sizes = [found[0][1], *(size for _, size, _ in found)]
    return [
        _Layer(f"synthesis.L{i}_{size}_{channels}", f"L{i}", size, channels, before)
        for (i, size, channels), before in zip(found, sizes, strict=False)
    ]


def _unit(weight: Doubles) -> Doubles:
    """Return the weight with a mean square of 1 for each output channel."""
    return np.asarray(weight / np.sqrt(np.mean(np.square(weight), axis=(1, 2, 3), keepdims=True)))


def _input(file: NvlabsFile, parts: StyleBuilder, side: int) -> str:
    draft, path = file.draft, "synthesis.input"
    module = file.arrays(path, "weight", "transform", "freqs", "phases")
    channels = module.weight[0] if module.weight else 0
    shapes = {"weight": (channels, channels), "transform": (3, 3), "freqs": (channels, 2), "phases": (channels,)}
    if dict(module.arrays) != shapes:
        raise DoesNotFitError(f"{path} is {module}")
    rate = float(side - 2 * MARGIN)
    settings = draft.settings(module.key, "SynthesisInput", channels=channels, sampling_rate=rate)
    bandwidth = number(settings, path, "bandwidth", BANDWIDTH)
    if not settings:
        draft.assumed.append(Assumption("the bandwidth of the first layer is", f"{BANDWIDTH:g} cycles per image", ""))
    moved = parts.dense("input_affine", file.dense(f"{path}.affine", 1.0, active=False), parts.ws[0])
    draft.add(
        FourierFeatures, "waves", inputs=(moved,), channels=channels, side=side, sampling_rate=rate,
        bandwidth=bandwidth,
    )  # fmt: skip
    transform = _transform(draft)
    draft.derive(
        "waves.transform", (f"{module.key}.transform",), (3, 3), lambda t: t if transform is None else transform
    )
    for name in ("freqs", "phases"):
        draft.derive(f"waves.{name}", (f"{module.key}.{name}",), shapes[name], lambda array: array)
    draft.add(Conv, "input", in_channels=channels, out_channels=channels, kernel=1, bias=False)
    draft.derive(
        "input.weight", (f"{module.key}.weight",), (channels, channels, 1, 1),
        lambda w: w[:, :, None, None] / math.sqrt(channels),
    )  # fmt: skip
    return "input"


def _transform(draft: SpecBuilder) -> Doubles | None:
    """Return the transform of `translate` and `rotate`, as NVlabs' script sets it; None to keep the file's.

    The transform maps points of the image to points of the unmoved one, so it is the inverse of the motion.
    """
    draft.used_overrides.update(("translate", "rotate"))
    translate, rotate = draft.overrides.translate, draft.overrides.rotate
    if translate is None and rotate is None:
        return None
    x, y = translate or (0.0, 0.0)
    angle = math.radians(rotate or 0.0)
    cos, sin = math.cos(angle), math.sin(angle)
    return np.linalg.inv(np.array([[cos, sin, x], [-sin, cos, y], [0.0, 0.0, 1.0]]))


def _convolved(file: NvlabsFile, parts: StyleBuilder, layer: _Layer, w: str, *, last: bool) -> float | None:
    """Append the modulated convolution and the bias; return the limit of the values."""
    draft, path, name = file.draft, layer.path, layer.name
    module = draft.module(path)
    shape = module.weight
    if len(shape) != 4 or shape[0] != layer.channels or shape[2] != shape[3] or module.arrays.get("bias") != shape[:1]:
        raise DoesNotFitError(f"{printable(path, 80)} is {module}")
    draft.used.add(module.key)
    settings = draft.settings(module.key, "SynthesisLayer", is_torgb=last, conv_kernel=shape[2])
    out, inside, kernel, _ = shape
    magnitude = f"{module.key}.magnitude_ema"
    if magnitude not in draft.state.scalars:
        raise DoesNotFitError(f"no {path}.magnitude_ema", (magnitude,))
    x = draft.last
    affine = file.dense(f"{path}.affine", 1.0, active=False)
    if last:
        affine = affine.scaled(1 / math.sqrt(inside * kernel**2))
    style = parts.dense(f"{name}_style", affine, w)
    if not last:
        style = draft.add(PixelNorm, f"{name}_unit", inputs=(style,), eps=0.0)
    draft.add(ScaleChannels, f"{name}_in", inputs=(x, style))
    draft.add(Conv, name, in_channels=inside, out_channels=out, kernel=kernel, padding=kernel - 1, bias=False)
    draft.derive(
        f"{name}.weight", (f"{module.key}.weight", magnitude), shape,
        lambda v, m: (v if last else _unit(v)) / np.sqrt(m.reshape(())),
    )  # fmt: skip
    if not last:
        made = draft.last
        draft.add(Demodulate, f"{name}_demod", inputs=(style,), in_features=inside, out_features=out, eps=EPS)
        draft.derive(
            f"{name}_demod.weight", (f"{module.key}.weight",), (out, inside),
            lambda v: np.sum(np.square(_unit(v)), axis=(2, 3)),
        )  # fmt: skip
        draft.add(ScaleChannels, f"{name}_out", inputs=(made, f"{name}_demod"))
    draft.add(ChannelBias, f"{name}_bias", channels=out)
    draft.derive(f"{name}_bias.bias", (f"{module.key}.bias",), (out,), lambda b: b)
    return limit_of(file, settings, path)


def _filtered(file: NvlabsFile, layer: _Layer, limit: float | None) -> None:
    """Append the leaky ReLU at a higher rate, between the two filters."""
    draft, name, channels = file.draft, layer.name, layer.channels
    module = draft.module(layer.path)
    up, down = module.arrays.get("up_filter", ()), module.arrays.get("down_filter", ())
    if len(up) != 1 or len(set(down)) != 1 or len(down) > 2 or up[0] % FILTER_SIZE or down[0] % FILTER_SIZE:
        raise DoesNotFitError(f"{printable(layer.path, 80)} has filters of {up} and {down} taps")
    (taps,), kernel = up, module.weight[2]
    factor, lower = taps // FILTER_SIZE, down[0] // FILTER_SIZE
    draft.settings(module.key, "SynthesisLayer", up_factor=factor, down_factor=lower, up_taps=taps, down_taps=down[0])
    padding = (layer.size - 1) * lower + 1 - (layer.inside + kernel - 1) * factor + taps + down[0] - 2
    before = (padding + factor) // 2
    draft.add(
        FilterUp, f"{name}_up", channels=channels, taps=taps, factor=factor, before=before, after=padding - before
    )  # fmt: skip
    gain = factor * math.sqrt(GAIN)  # of each of two passes; the activation's gain is applied before it
    draft.derive(
        f"{name}_up.weight", (f"{module.key}.up_filter",), (channels, taps),
        lambda f: np.broadcast_to(f * gain, (channels, taps)),
    )  # fmt: skip
    draft.add(Activation, f"{name}_act", kind="leaky_relu", slope=SLOPE)
    if limit is not None:
        draft.add(Clamp, f"{name}_clamp", low=-limit, high=limit)
    draft.add(FilterDown, f"{name}_down", channels=channels, taps=down[0], factor=lower, separable=len(down) == 1)
    shape = (channels, *down)
    draft.derive(
        f"{name}_down.weight", (f"{module.key}.down_filter",), shape,
        lambda f: np.broadcast_to(np.flip(f), shape),
    )  # fmt: skip
    if draft.shape != (channels, layer.size, layer.size):
        raise DoesNotFitError(f"{printable(layer.path, 80)} gives {draft.shape}, not images of {layer.size}")


def generated(file: NvlabsFile, layers: list[_Layer], mapping: Mapping, kind: str) -> None:
    """Append a generator whose class is `kind`, with these layers after its mapping network."""
    draft, last = file.draft, layers[-1]
    parts = StyleBuilder(draft)
    draft.settings(
        "", kind, z_dim=mapping.nz, w_dim=mapping.width, img_resolution=last.size, img_channels=last.channels,
        c_dim=mapping.classes,
    )  # fmt: skip
    draft.settings(
        "synthesis", "SynthesisNetwork", num_ws=mapping.rows, margin_size=MARGIN, output_scale=OUTPUT_SCALE,
        img_resolution=last.size,
    )  # fmt: skip
    if layers[0].size <= 2 * MARGIN or last.inside != last.size:
        raise DoesNotFitError(f"layers of {layers[0].size} to {last.size}: the last two have the image's size")
    parts.start(mapping, "none", ())
    _input(file, parts, layers[0].size)
    for layer, w in zip(layers, parts.ws[1:], strict=True):
        limit = _convolved(file, parts, layer, w, last=layer is last)
        if layer is not last:
            _filtered(file, layer, limit)
        elif limit is not None:
            draft.add(Clamp, f"{layer.name}_clamp", low=-limit, high=limit)
    draft.add(Scale, "image", factor=OUTPUT_SCALE, offset=0.0)
    if not draft.state.settings:
        draft.assumed.append(Assumption("each layer's values are clamped to", f"±{CLAMP:g}", ""))
    elif any(s.values.get("use_fp16") for s in draft.state.settings.values()):
        draft.notes.append("NVlabs' code runs its largest layers in float16 on a GPU; here all are float32")


def _build(draft: SpecBuilder) -> None:
    file = NvlabsFile(draft)
    layers = layers_of(draft)
    generated(file, layers, mapping_of(file, len(layers) + 1), "Generator")


FAMILY = Family("stylegan3", "NVlabs' StyleGAN3 (T and R)", _build, output="none")
