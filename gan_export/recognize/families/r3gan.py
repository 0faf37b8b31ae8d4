"""brownvc/R3GAN: `MainLayers.{s}.Layers.{b}`, `AggregationLayer`, with labels `EmbeddingLayer`; no normalization."""

from __future__ import annotations

import numpy as np

from gan_export.errors import printable
from gan_export.graph.layers import (
    Activation,
    Add,
    ChannelBias,
    Concat,
    Conv,
    Embedding,
    GroupedConv,
    GroupedConvTranspose,
    Linear,
    ModulatedConstant,
    Shape,
)
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError, Module


def _arrays(draft: SpecBuilder, path: str, *names: str) -> Module:
    module = draft.module(path)
    if set(module.arrays) != set(names):
        raise DoesNotFitError(f"{printable(path, 80)} is {module}", tuple(f"{path}.{n}" for n in names))
    draft.used.add(module.key)
    return module


def _copy(draft: SpecBuilder, parameter: str, key: str, shape: Shape) -> None:
    draft.derive(parameter, (key,), shape, lambda array: array.reshape(shape))


def _build(draft: SpecBuilder) -> None:
    stages = [int(i) for (i,), _ in draft.matching(r"MainLayers\.(\d{1,2})\.Layers\.1\.LinearLayer1\.Layer")]
    if not stages or stages != list(range(len(stages))):
        raise DoesNotFitError("no MainLayers.0", ("MainLayers.0.Layers.0.Basis",))
    basis = _arrays(draft, "MainLayers.0.Layers.0", "Basis")
    shape = basis.arrays["Basis"]
    if len(shape) != 3 or shape[1:] != (4, 4):
        raise DoesNotFitError(f"{basis.key}.Basis is {shape}, not (C, 4, 4)")
    first = _arrays(draft, "MainLayers.0.Layers.0.LinearLayer", "weight")
    inside, width = first.linear
    _settings(draft)
    _latent(draft, inside)
    draft.add(Linear, "fc", in_features=inside, out_features=width, bias=False)
    _copy(draft, "fc.weight", f"{first.key}.weight", (width, inside))
    draft.add(ModulatedConstant, "basis", shape=shape)
    _copy(draft, "basis.weight", f"{basis.key}.Basis", shape)
    for s in stages:
        if s:
            _enlarge(draft, s)
        blocks = [int(b) for (b,), _ in draft.matching(rf"MainLayers\.{s}\.Layers\.(\d{{1,3}})\.LinearLayer1\.Layer")]
        if blocks != list(range(1, len(blocks) + 1)):
            raise DoesNotFitError(
                f"no MainLayers.{s}.Layers.1", (f"MainLayers.{s}.Layers.1.LinearLayer1.Layer.weight",)
            )
        for b in blocks:
            _block(draft, f"MainLayers.{s}.Layers.{b}", f"s{s}b{b}")
    _conv(draft, "AggregationLayer", "to_image", 1)


def _settings(draft: SpecBuilder) -> None:
    """Hold a pickle's own words against what is read."""
    if not draft.state.settings:
        return
    root = "" if draft.state.settings.get("") and draft.state.settings[""].kind == "Generator" else "Model"
    draft.settings(root, "Generator")
    for path, settings in draft.state.settings.items():
        if settings.kind == "Conv2d" and settings.values.get("padding_mode", "zeros") != "zeros":
            raise DoesNotFitError(
                f"{printable(path, 80)} pads by {printable(str(settings.values['padding_mode']), 40)}"
            )


def _latent(draft: SpecBuilder, inside: int) -> None:
    module = draft.maybe("EmbeddingLayer")
    if module is None:
        draft.latent(inside)
        return
    module = _arrays(draft, "EmbeddingLayer", "weight")
    classes, dim = module.linear
    if dim >= inside:
        raise DoesNotFitError(f"the label's {dim} features leave no latent of {inside}")
    draft.classes = classes
    draft.used_overrides.add("classes")
    draft.shapes["z"], draft.shapes["label"] = (inside - dim,), ()
    draft.add(Embedding, "embed", inputs=("label",), classes=classes, dim=dim)
    draft.derive("embed.weight", (f"{module.key}.weight",), (classes, dim), np.transpose)
    draft.add(Concat, "joined", inputs=("z", "embed"))


def _enlarge(draft: SpecBuilder, s: int) -> None:
    path = f"MainLayers.{s}.Layers.0"
    if draft.maybe(f"{path}.LinearLayer.Layer"):
        _conv(draft, f"{path}.LinearLayer", f"s{s}_width", 1)
    taps = _arrays(draft, f"{path}.Resampler", "Kernel")
    if taps.arrays["Kernel"] != (4, 4):
        raise DoesNotFitError(f"{taps.key}.Kernel is {taps.arrays['Kernel']}, not (4, 4)")
    channels = draft.shape[0]
    shape = (channels, 1, 4, 4)
    draft.add(
        GroupedConvTranspose, f"s{s}_up", in_channels=channels, out_channels=channels, kernel=4, groups=channels,
        padding=1,
    )  # fmt: skip
    draft.derive(f"s{s}_up.weight", (f"{taps.key}.Kernel",), shape, lambda f: np.broadcast_to(f * 4, shape))


def _block(draft: SpecBuilder, path: str, name: str) -> None:
    start = draft.last
    for i, kernel in enumerate((1, 3, 1), 1):
        _conv(draft, f"{path}.LinearLayer{i}", f"{name}_conv{i}", kernel)
        if i < 3:
            bias = _arrays(draft, f"{path}.NonLinearity{i}", "Bias")
            width = draft.shape[0]
            if bias.arrays["Bias"] != (width,):
                raise DoesNotFitError(f"{bias.key}.Bias is {bias.arrays['Bias']}, not ({width},)")
            draft.add(ChannelBias, f"{name}_bias{i}", channels=width)
            _copy(draft, f"{name}_bias{i}.bias", f"{bias.key}.Bias", (width,))
            draft.add(Activation, f"{name}_act{i}", kind="leaky_relu", slope=0.2)
    draft.add(Add, name, inputs=(start, draft.last))


def _conv(draft: SpecBuilder, path: str, name: str, kernel: int) -> None:
    module = _arrays(draft, f"{path}.Layer", "weight")
    shape = module.weight
    if len(shape) != 4 or shape[2:] != (kernel, kernel):
        raise DoesNotFitError(f"{module.key} is {module}, not a convolution of {kernel}x{kernel}")
    inside = draft.shape[0]
    groups, rest = divmod(inside, shape[1])
    if rest or groups < 1 or shape[0] % groups:
        raise DoesNotFitError(f"{module.key} is {module}, which doesn't take {inside} channels")
    sizes = {"in_channels": inside, "out_channels": shape[0], "kernel": kernel, "padding": kernel // 2, "bias": False}
    if groups == 1:
        draft.add(Conv, name, **sizes)
    else:
        draft.add(GroupedConv, name, groups=groups, **sizes)
    _copy(draft, f"{name}.weight", f"{module.key}.weight", shape)


FAMILY = Family("r3gan", "brownvc's R3GAN", _build, output="none")
