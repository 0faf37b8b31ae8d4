"""GFPGAN without custom operators ("clean": 1.2, 1.3, 1.4), which restores an aligned face: image in, image out.

`conv_body_first`, `conv_body_down.{i}`, `final_conv` make a code of the image, `conv_body_up.{i}` what
`condition_scale.{i}` and `condition_shift.{i}` turn into a scale and a shift of the StyleGAN2 in `stylegan_decoder`.
That one differs from others: it enlarges by bilinear interpolation before its convolutions, without a filter, and √2
is a factor of the convolution alone.
"""

from __future__ import annotations

from gan_export.errors import printable
from gan_export.graph.layers import (
    Activation,
    AvgPool,
    Channels,
    Concat,
    Linear,
    Multiply,
    Reshape,
    Shape,
    Upsample,
)
from gan_export.graph.ports import Normal, Port
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.options import Assumption
from gan_export.recognize.state_dict import DoesNotFitError, Module
from gan_export.recognize.style import StyleBuilder
from gan_export.recognize.style_parts import SLOPE, Dense, StyledConv

RANGE = (-1.0, 1.0)
DECODER = "stylegan_decoder"
CHANNELS = 3


def _arrays(draft: SpecBuilder, path: str, *names: str) -> Module:
    module = draft.module(path)
    if set(module.arrays) != set(names):
        raise DoesNotFitError(f"{printable(path, 80)} is {module}", tuple(f"{path}.{n}" for n in names))
    draft.used.add(module.key)
    return module


# The part that takes the image.


def _conv(draft: SpecBuilder, path: str, x: str | None = None) -> str:
    name = path.replace(".", "_")
    draft.conv(name, draft.module(path), inputs=None if x is None else (x,))
    return name


def _leaky(draft: SpecBuilder, name: str) -> str:
    return draft.add(Activation, f"{name}_act", kind="leaky_relu", slope=SLOPE)


def _resize(draft: SpecBuilder, name: str, x: str, *, up: bool) -> str:
    """Interpolate bilinearly to twice or half the size; for half the size that is the mean of 2x2 values."""
    if up:
        return draft.add(Upsample, name, inputs=(x,), factor=2, mode="bilinear")
    return draft.add(AvgPool, name, inputs=(x,), size=2)


def _block(draft: SpecBuilder, path: str, *, up: bool) -> str:
    name, start = path.replace(".", "_"), draft.last
    _leaky(draft, _conv(draft, f"{path}.conv1"))
    _resize(draft, f"{name}_resized", draft.last, up=up)
    made = _leaky(draft, _conv(draft, f"{path}.conv2"))
    _resize(draft, f"{name}_start", start, up=up)
    short = _conv(draft, f"{path}.skip")
    draft.plus(name, made, short)
    return name


def _condition(draft: SpecBuilder, path: str, x: str) -> str:
    _leaky(draft, _conv(draft, f"{path}.0", x))
    return _conv(draft, f"{path}.2")


# The decoder.


def _affine(draft: SpecBuilder, path: str, code: int) -> Dense:
    module = _arrays(draft, path, "weight", "bias")
    inside, out = module.linear
    if inside != code or module.arrays["bias"] != (out,):
        raise DoesNotFitError(f"{path} is {module}, not of codes of {code} numbers")
    return Dense(f"{module.key}.weight", f"{module.key}.bias", (out, inside), 1.0)


def _weight(draft: SpecBuilder, path: str, kernel: int) -> tuple[str, Shape]:
    """The key of a weight (1, O, I, k, k), and (O, I, k, k)."""
    module = _arrays(draft, path, "weight")
    one, *shape = module.weight or (0,)
    if one != 1 or len(shape) != 4 or shape[2:] != [kernel, kernel]:
        raise DoesNotFitError(f"{path} is {module}, not (1, O, I, {kernel}, {kernel})")
    return f"{module.key}.weight", tuple(shape)


def _styled(draft: SpecBuilder, path: str, number: int, code: int, noises: Module) -> StyledConv:
    path = f"{DECODER}.{path}"
    weight, shape = _weight(draft, f"{path}.modulated_conv", 3)
    own = _arrays(draft, path, "weight", "bias")  # of the noise, and after it
    if own.weight != (1,) or own.arrays["bias"] != (1, shape[0], 1, 1):
        raise DoesNotFitError(f"{path} is {own}")
    return StyledConv(
        path.rpartition(f"{DECODER}.")[2].replace(".", ""), _affine(draft, f"{path}.modulated_conv.modulation", code),
        weight, shape, f"{own.key}.bias", bare=True, noise=(f"{noises.key}.noise{number}", f"{own.key}.weight"),
        side=_side(number),
    )  # fmt: skip


def _to_rgb(draft: SpecBuilder, path: str, code: int) -> StyledConv:
    name, path = path.replace(".", ""), f"{DECODER}.{path}"
    weight, shape = _weight(draft, f"{path}.modulated_conv", 1)
    bias = _arrays(draft, path, "bias")
    if shape[0] != CHANNELS or bias.arrays["bias"] != (1, CHANNELS, 1, 1):
        raise DoesNotFitError(f"{path} is {bias}, with a weight {shape}")
    return StyledConv(
        name, _affine(draft, f"{path}.modulated_conv.modulation", code), weight, shape, f"{bias.key}.bias"
    )


def _side(number: int) -> int:
    return 1 << ((number + 5) // 2)


def _modulate(draft: SpecBuilder, name: str, x: str, scale: str, shift: str) -> str:
    """Scale and shift the channels of x, or the second half of them if the condition has half as many."""
    channels, conditioned = draft.shapes[x][0], draft.shapes[scale][0]
    if draft.shapes[shift] != draft.shapes[scale] or conditioned not in (channels, channels // 2):
        raise DoesNotFitError(
            f"{scale} gives {draft.shapes[scale]}, {shift} {draft.shapes[shift]} for {channels} channels"
        )
    same = None
    if conditioned != channels:
        same = draft.add(Channels, f"{name}_same", inputs=(x,), start=0, count=channels - conditioned)
        x = draft.add(Channels, f"{name}_half", inputs=(x,), start=channels - conditioned, count=conditioned)
    scaled = draft.add(Multiply, f"{name}_scaled", inputs=(x, scale))
    draft.plus(f"{name}_shifted", scaled, shift)
    if same is None:
        return f"{name}_shifted"
    return draft.add(Concat, name, inputs=(same, f"{name}_shifted"))


def _build(draft: SpecBuilder) -> None:
    stages = len(draft.numbered("conv_body_down.#.conv1"))
    if stages > 8 or len(draft.numbered("conv_body_up.#.conv1")) != stages:
        raise DoesNotFitError("conv_body_down and conv_body_up don't belong to each other")
    side, rows, layers = 4 << stages, 2 * stages + 2, 2 * stages + 1
    noises = _arrays(draft, f"{DECODER}.noises", *(f"noise{i}" for i in range(layers)))
    noise = draft.choice("noise", "const", "the noise of each layer", "const, as stored; its script draws new noise")
    sides = [_side(i) for i in range(layers)]
    if odd := next((i for i, r in enumerate(sides) if noises.arrays[f"noise{i}"] != (1, 1, r, r)), None):
        raise DoesNotFitError(f"{noises.key}.noise{odd} is {noises.arrays[f'noise{odd}']}")
    planes = [Port(f"noise{i}", "noise", (1, r, r), prior=Normal()) for i, r in enumerate(sides)]
    face = Port("input", "image", (CHANNELS, side, side), range=RANGE)
    draft.takes(face, *(planes if noise == "seed" else ()))
    feature = _leaky(draft, _conv(draft, "conv_body_first"))
    skips = [_block(draft, f"conv_body_down.{i}", up=False) for i in range(stages)]
    feature = _leaky(draft, _conv(draft, "final_conv"))
    ws = _codes(draft, feature, rows)
    conditions = []
    for i, skip in enumerate(reversed(skips)):
        draft.plus(f"joined{i}", feature, skip)
        feature = _block(draft, f"conv_body_up.{i}", up=True)
        conditions.append([_condition(draft, f"condition_{part}.{i}", feature) for part in ("scale", "shift")])
    parts = StyleBuilder(draft, ws=ws, noises=planes, noise=noise)
    _decode(draft, parts, conditions, noises)
    draft.gives(Port("image", "image", (CHANNELS, side, side), range=RANGE))
    for i, _ in draft.numbered("toRGB.#"):
        draft.used.add(draft.module(f"toRGB.{i}").key)
    draft.notes.append("toRGB, images of other sizes that training compares, is left out")


def _codes(draft: SpecBuilder, feature: str, rows: int) -> list[str]:
    """Append the layers that turn the smallest map into a w for each layer of the decoder, or one for all."""
    final = draft.module("final_linear")
    inside, out = final.linear
    width = draft.module(f"{DECODER}.style_conv1.modulated_conv.modulation").linear[0]
    if out not in (width, rows * width):
        raise DoesNotFitError(f"final_linear gives {out} numbers, not 1 or {rows} codes of {width}")
    draft.add(Reshape, "flat", inputs=(feature,), shape=(inside,))
    codes = draft.add(Linear, "codes", final, in_features=inside, out_features=out)
    for _, module in draft.matching(rf"{DECODER}\.style_mlp\.\d{{1,3}}"):
        draft.used.add(module.key)
    draft.assumed.append(Assumption("the codes are", "w; the mapping in the file is not run", ""))
    if out == width:
        return [codes] * rows
    return [draft.add(Channels, f"w{i}", inputs=(codes,), start=i * width, count=width) for i in range(rows)]


def _decode(draft: SpecBuilder, parts: StyleBuilder, conditions: list[list[str]], noises: Module) -> None:
    constant = _arrays(draft, f"{DECODER}.constant_input", "weight")
    if len(constant.weight) != 4 or constant.weight[0] != 1 or constant.weight[2:] != (4, 4):
        raise DoesNotFitError(f"{constant.key} is {constant}, not (1, C, 4, 4)")
    code, ws = draft.shapes[parts.ws[0]][0], parts.ws
    first = _styled(draft, "style_conv1", 0, code, noises)
    x = parts.conv(first, None, ws[0], f"{constant.key}.weight", constant.weight[1:])
    image = parts.to_image(_to_rgb(draft, "to_rgb1", code), x, ws[1])
    for k, (scale, shift) in enumerate(conditions):
        wide = _resize(draft, f"wide{k}", x, up=True)
        x = parts.conv(_styled(draft, f"style_convs.{2 * k}", 2 * k + 1, code, noises), wide, ws[2 * k + 1])
        x = _modulate(draft, f"conditioned{k}", x, scale, shift)
        x = parts.conv(_styled(draft, f"style_convs.{2 * k + 1}", 2 * k + 2, code, noises), x, ws[2 * k + 2])
        larger = _resize(draft, f"image_up{k}", image, up=True)
        image = parts.plus(f"image{k}", parts.to_image(_to_rgb(draft, f"to_rgbs.{k}", code), x, ws[2 * k + 3]), larger)
    if parts.noise == "none":
        draft.used.add(noises.key)


FAMILY = Family("gfpgan", "GFPGAN 1.2 to 1.4, which restores a face", _build, output="none")
