"""SRVGGNetCompact of Real-ESRGAN (realesr-general-x4v3, realesr-animevideov3).

`body.{0,2,...}` convolutions, `body.{1,3,...}` PReLUs; the last convolution gives each pixel's block, and the input,
enlarged by repeating its pixels, is added.
"""

from __future__ import annotations

import math

from gan_export.graph.layers import PixelShuffle, Upsample
from gan_export.graph.ports import Size
from gan_export.recognize import image_layers
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError

UNIT = (0.0, 1.0)


def _build(draft: SpecBuilder) -> None:
    layers = draft.sequential()
    if [i for i, _ in layers] != list(range(len(layers))) or len(layers) < 3 or len(layers) % 2 == 0:
        raise DoesNotFitError("not a convolution and a PReLU in turn")
    channels, out = layers[0][1].conv[0], layers[-1][1].conv[1]
    scale = math.isqrt(out // channels)
    if channels * scale**2 != out or not 1 <= scale <= 16:
        raise DoesNotFitError(f"{out} channels at the end are no square multiple of {channels}")
    image_layers.start(draft, channels, Size(), UNIT)
    for i, module in layers:
        if i % 2:
            image_layers.prelu(draft, f"prelu{i // 2}", module)
        else:
            draft.conv(f"conv{i // 2}", module)
    if scale > 1:
        draft.add(PixelShuffle, "shuffled", factor=scale)
    made = draft.last
    larger = "input"
    if scale > 1:
        larger = draft.add(Upsample, "enlarged", inputs=("input",), factor=scale, mode="nearest")
    draft.plus("sum", made, larger)
    image_layers.finish(draft, UNIT, scale)


FAMILY = Family("srvgg", "SRVGGNetCompact of Real-ESRGAN", _build)
