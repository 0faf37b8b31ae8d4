"""SRVGGNetCompact of Real-ESRGAN (realesr-general-x4v3, realesr-animevideov3).

`body.{0,2,...}` convolutions, `body.{1,3,...}` PReLUs; the last convolution gives each pixel's block, and the input,
enlarged by repeating its pixels, is added.  Its class also has ReLU and LeakyReLU in the place of PReLU, which have no
keys: the numbers between the convolutions are left out, and the file doesn't show which of both it is.
"""

from __future__ import annotations

import math

from gan_export.graph.layers import PixelShuffle, Upsample
from gan_export.graph.ports import Size
from gan_export.recognize import image_layers
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.options import Assumption
from gan_export.recognize.state_dict import DoesNotFitError, Module

UNIT = (0.0, 1.0)
_ACTIVATIONS = "the activations between the convolutions"


def _build(draft: SpecBuilder) -> None:
    layers = draft.sequential()
    count = layers[-1][0] + 1
    plain = [i for i, _ in layers] == list(range(0, count, 2))
    if count < 3 or count % 2 == 0 or not (plain or len(layers) == count):
        raise DoesNotFitError("not a convolution and a PReLU in turn")
    channels, out = layers[0][1].conv[0], layers[-1][1].conv[1]
    scale = math.isqrt(out // channels)
    if channels * scale**2 != out or not 1 <= scale <= 16:
        raise DoesNotFitError(f"{out} channels at the end are no square multiple of {channels}")
    if plain:
        _check_plain(layers, scale)
    image_layers.start(draft, channels, Size(), UNIT)
    for i, module in layers:
        if i % 2:
            image_layers.prelu(draft, f"prelu{i // 2}", module)
            continue
        draft.conv(f"conv{i // 2}", module)
        if plain and i + 1 < count:
            _activation(draft, i // 2)
    if scale > 1:
        draft.add(PixelShuffle, "shuffled", factor=scale)
    made = draft.last
    larger = "input"
    if scale > 1:
        larger = draft.add(Upsample, "enlarged", inputs=("input",), factor=scale, mode="nearest")
    draft.plus("sum", made, larger)
    image_layers.finish(draft, UNIT, scale)


def _check_plain(layers: list[tuple[int, Module]], scale: int) -> None:
    """Raise DoesNotFitError unless convolutions without PReLUs are those of SRVGGNetCompact, beyond any doubt."""
    widths = {module.conv[0] for _, module in layers[1:]} | {module.conv[1] for _, module in layers[:-1]}
    alike = len(widths) == 1 and all(module.kernel == 3 and module.bias for _, module in layers)
    if not alike or scale == 1 or not layers[0][1].key.startswith("body."):
        raise DoesNotFitError("no PReLUs between the convolutions")


def _activation(draft: SpecBuilder, number: int) -> None:
    """Append an activation that has no keys: ReLU, or by --slope another one."""
    if draft.overrides.slope is None:
        if "slope" not in draft.used_overrides:
            draft.used_overrides.add("slope")
            draft.assumed.append(Assumption(_ACTIVATIONS, "ReLU (slope 0)", "slope=", ("LeakyReLU 0.1",)))
        image_layers.relu(draft, f"relu{number}")
        return
    draft.activation(number)


FAMILY = Family("srvgg", "SRVGGNetCompact of Real-ESRGAN", _build)
