"""Append what stands around attention in lucidrains' generators: a norm over channels, queries, keys and values."""

from __future__ import annotations

from gan_export.graph.layers import ChannelNorm, Channels, GroupedConv, LinearAttend, LocalAttend, Shape
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.state_dict import DoesNotFitError, Module

HEADS = 8
NORM_EPS = 1e-5


def only(draft: SpecBuilder, path: str, arrays: dict[str, Shape]) -> Module:
    """Return the module that has just these arrays."""
    module = draft.module(path)
    if dict(module.arrays) != arrays:
        raise DoesNotFitError(f"{module.key} is {module}", tuple(f"{path}.{name}" for name in arrays))
    draft.used.add(module.key)
    return module


def reshaped(draft: SpecBuilder, parameter: str, key: str, shape: Shape) -> None:
    draft.derive(parameter, (key,), shape, lambda array: array.reshape(shape))


def channel_norm(draft: SpecBuilder, path: str, name: str) -> str:
    """Append the norm over the channels at `path`, and return its name."""
    channels = draft.shape[0]
    norm = only(draft, path, {"g": (1, channels, 1, 1), "b": (1, channels, 1, 1)})
    draft.add(ChannelNorm, name, channels=channels, eps=NORM_EPS)
    reshaped(draft, f"{name}.weight", f"{norm.key}.g", (channels,))
    reshaped(draft, f"{name}.bias", f"{norm.key}.b", (channels,))
    return name


def attended(draft: SpecBuilder, name: str, x: str, queries: str, both: str, *, linear: bool) -> str:
    """Append attention of x, and return its name.  queries, both: paths of the convolutions of it, and of the others.

    linear: whether it takes linear time, with a depthwise convolution before keys and values; else it is of neighbors
    """
    channels = draft.shapes[x][0]
    draft.conv(f"{name}_queries", draft.module(queries), inputs=(x,))
    inner = draft.shape[0]
    if inner % HEADS:
        raise DoesNotFitError(f"{queries}: {inner} channels are not {HEADS} heads")
    source = x
    if linear:
        depthwise = only(draft, f"{both}.net.0", {"weight": (channels, 1, 3, 3)})
        source = draft.add(
            GroupedConv, f"{name}_around", inputs=(x,), in_channels=channels, out_channels=channels, kernel=3,
            groups=channels, padding=1,
        )  # fmt: skip
        reshaped(draft, f"{name}_around.weight", f"{depthwise.key}.weight", (channels, 1, 3, 3))
    draft.conv(f"{name}_both", draft.module(f"{both}.net.1" if linear else both), inputs=(source,))
    keys, values = (
        draft.add(Channels, f"{name}_{part}", inputs=(f"{name}_both",), start=at * inner, count=inner)
        for at, part in enumerate(("keys", "values"))
    )
    layer = LinearAttend if linear else LocalAttend
    return draft.add(layer, name, inputs=(f"{name}_queries", keys, values), heads=HEADS)
