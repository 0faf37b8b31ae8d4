"""lucidrains' lightweight-gan: `initial_conv`, `layers.{i}.{0,1,2}`, `out_conv`; `GE` in its files is the average.

A layer doubles the size; `.1` gates the channels of the layer three further on; `.2` is attention before it.
Its code adds new noise in every call, and clamps images to [0, 1].
"""

from __future__ import annotations

import math

from gan_export.errors import GanExportError
from gan_export.graph.layers import (
    Activation,
    Add,
    AddNoise,
    Clamp,
    Concat,
    ContextPool,
    Conv,
    ConvTranspose,
    Crop,
    Gelu,
    GroupedConv,
    Linear,
    PixelNorm,
    PixelShuffle,
    Reshape,
    Scale,
    ScaleChannels,
)
from gan_export.graph.ports import Normal, Port
from gan_export.graph.signature import Signature
from gan_export.recognize.attention import HEADS, attended, channel_norm, only, reshaped
from gan_export.recognize.blur import blurred
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.gates import gated_unit, silu
from gan_export.recognize.options import Assumption
from gan_export.recognize.state_dict import DoesNotFitError

GATED = 3  # layers from a gate's map to the one that it scales
SLOPE = 0.1  # of the gates
TINY = 1e-24


def _build(draft: SpecBuilder) -> None:
    first, last = draft.module("initial_conv.0"), draft.module("out_conv")
    nz, width = first.transposed
    count = 0
    while draft.maybe(f"layers.{count}.0.0.net.0") is not None:
        count += 1
    if not count or first.kernel != 4:
        raise DoesNotFitError("no layers.0.0.0.net.0", ("layers.0.0.0.net.0.weight",))
    noise = draft.choice("noise", "none", "the noise that its code adds, new in every call")
    if noise == "const":
        raise GanExportError("noise=const: the file stores no noise; none or seed")
    noises = tuple(Port(f"noise{i}", "noise", (1, 8 << i, 8 << i), prior=Normal()) for i in range(count))
    latent = Signature.of_latent(nz, "normal", (1, 1, 1), 0, None).inputs
    draft.takes(*latent, *(noises if noise == "seed" else ()))
    draft.add(Reshape, "seed", shape=(nz, 1, 1))
    draft.add(ConvTranspose, "init", first, in_channels=nz, out_channels=width, kernel=4, bias=first.bias)
    draft.batch_norm("init_bn", draft.module("initial_conv.1"))
    gated_unit(draft, "init_glu")
    draft.add(PixelNorm, "init_unit", eps=TINY)  # to length 1: over the root of the sum, not of the mean
    draft.add(Scale, "init_norm", factor=1 / math.sqrt(draft.shape[0]), offset=0.0)
    gates: dict[int, str] = {}  # layer -> what scales its channels
    attends = False
    for i in range(count):
        if draft.maybe(f"layers.{i}.2.fn.to_out") is not None:
            _attention(draft, f"layers.{i}.2", f"attention{i}")
            attends = True
        _enlarged(draft, f"layers.{i}.0", f"layer{i}", noises[i].name if noise == "seed" else None)
        made = draft.last
        if draft.maybe(f"layers.{i}.1.net.0") is not None:
            gates[i + GATED] = _gate(draft, f"layers.{i}.1", f"gate{i}")
        if i in gates:
            draft.add(ScaleChannels, f"layer{i}_gated", inputs=(made, gates[i]))
        else:
            draft.chain.last = made
    if max(gates, default=0) >= count:
        raise DoesNotFitError(f"a gate for layer {max(gates)} of {count}")
    if attends:
        draft.assumed.append(Assumption("the heads of attention are", str(HEADS), ""))
    draft.conv("to_image", last)
    draft.used_overrides.add("raw")
    if not draft.overrides.raw:
        draft.add(Scale, "scale", factor=2.0, offset=-1.0)
        draft.add(Clamp, "clamp", low=-1.0, high=1.0)
        draft.range = (-1.0, 1.0)


def _enlarged(draft: SpecBuilder, path: str, name: str, noise: str | None) -> None:
    """Append what doubles the size: pixel shuffle, blur, a convolution of 4x4, noise, BatchNorm, a gated unit."""
    shuffled = draft.module(f"{path}.0.net.0")
    draft.conv(f"{name}_up", shuffled)
    silu(draft, f"{name}_silu")
    draft.add(PixelShuffle, f"{name}_shuffle", factor=2)
    blurred(draft, f"{path}.1", f"{name}_blur")
    conv, (_, height, side) = draft.module(f"{path}.2.1"), draft.shape
    inside, out = conv.conv
    if conv.kernel != 4:
        raise DoesNotFitError(f"{conv.key} is {conv}, not a convolution of 4x4")
    # Its padding is 2 before and 1 after: of 2 on both sides, the last row and column are cut off.
    draft.add(
        Conv, f"{name}_conv", conv, in_channels=inside, out_channels=out, kernel=4, padding=2, bias=conv.bias
    )  # fmt: skip
    draft.add(Crop, f"{name}_same", top=0, left=0, height=height, width=side)
    strength = only(draft, f"{path}.3", {"weight": (1,)})
    if noise is not None:
        draft.add(AddNoise, f"{name}_noise", inputs=(draft.last, noise))
        draft.derive(f"{name}_noise.weight", (f"{strength.key}.weight",), (1,), lambda weight: weight)
    draft.batch_norm(f"{name}_bn", draft.module(f"{path}.4"))
    gated_unit(draft, f"{name}_glu")


def _gate(draft: SpecBuilder, path: str, name: str) -> str:
    """Append what turns the last map into factors of channels, and return its name."""
    x, (channels, side, _) = draft.last, draft.shape
    if draft.maybe(f"{path}.to_k") is not None:
        scores = draft.module(f"{path}.to_k")
        draft.conv(f"{name}_scores", scores)
        draft.add(ContextPool, f"{name}_pool", inputs=(f"{name}_scores", x))
    else:
        table = only(draft, path, {"dct_weights": (1, channels, side, side)})
        draft.add(
            GroupedConv, f"{name}_sums", in_channels=channels, out_channels=channels, kernel=side, groups=channels
        )  # fmt: skip
        shape = (channels, 1, side, side)
        draft.derive(f"{name}_sums.weight", (f"{table.key}.dct_weights",), shape, lambda w: w.reshape(shape))
        draft.add(Reshape, f"{name}_pool", shape=(channels,))
    for number, index in enumerate((0, 2)):
        module = draft.module(f"{path}.net.{index}")
        inside, out = module.conv
        if module.kernel != 1 or not module.bias:
            raise DoesNotFitError(f"{module.key} is {module}, not a convolution of 1x1 with a bias")
        draft.used.add(module.key)
        shape2 = (out, inside)
        draft.add(Linear, f"{name}_fc{number}", in_features=inside, out_features=out)
        reshaped(draft, f"{name}_fc{number}.weight", f"{module.key}.weight", shape2)
        reshaped(draft, f"{name}_fc{number}.bias", f"{module.key}.bias", (out,))
        if number == 0:
            draft.add(Activation, f"{name}_act", kind="leaky_relu", slope=SLOPE)
    return draft.add(Activation, name, kind="sigmoid")


def _attention(draft: SpecBuilder, path: str, name: str) -> None:
    """Append x + attention of the normalized x: linear attention beside that between neighbors."""
    start = draft.last
    normed = channel_norm(draft, f"{path}.norm", f"{name}_norm")
    inner = f"{path}.fn"
    attended(draft, f"{name}_linear", normed, f"{inner}.to_lin_q", f"{inner}.to_lin_kv", linear=True)
    gelu = draft.add(Gelu, f"{name}_gelu")
    local = attended(draft, f"{name}_local", normed, f"{inner}.to_q", f"{inner}.to_kv", linear=False)
    draft.add(Concat, f"{name}_joined", inputs=(gelu, local))
    draft.conv(f"{name}_out", draft.module(f"{path}.fn.to_out"))
    draft.add(Add, name, inputs=(f"{name}_out", start))


FAMILY = Family("lightweight_gan", "lucidrains' lightweight-gan", _build, output="none")
