"""Hugging Face's port of BigGAN-deep: `embeddings`, `generator.gen_z`, `generator.layers.{i}`, `generator.bn`.

Its norms store a row of statistics for each of 51 truncations from 0 to 1.  Between two rows its code weighs them the
wrong way round, which is what its images show, so it is done here too.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gan_export.errors import GanExportError
from gan_export.graph.layers import (
    Activation,
    Add,
    Affine,
    Attend,
    Channels,
    Concat,
    Conv,
    Embedding,
    Linear,
    MaxPool,
    Reshape,
    Scale,
    Upsample,
)
from gan_export.graph.ports import TruncatedNormal
from gan_export.graph.signature import Signature
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conditional_norm import OfLabel, Statistics, conditional_norm
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError, Module

Doubles = npt.NDArray[np.float64]
NAME = "biggan_huggingface"
BN_EPS = 1e-4
BOUND = 2.0  # of the truncated normal that its script samples z from, before `psi` scales it
MOST_ROWS = 1 << 12


def statistics_at(psi: float, table: Doubles) -> Doubles:
    """Return the statistics (channels,) of a truncation from a table (rows, channels)."""
    part, first = math.modf(psi / (1.0 / (len(table) - 1)))
    row = int(first)
    if part == 0.0:
        return np.asarray(table[row])
    return np.asarray(table[row] * part + table[row + 1] * (1 - part))


def _build(draft: SpecBuilder) -> None:
    if len(draft.state.embeddings) != 1:
        raise DoesNotFitError("no embeddings", ("embeddings.weight",))
    (embeddings,) = draft.state.embeddings
    gen_z = _module(draft, "gen_z", "weight", "bias")
    if len(embeddings.weight) != 2 or len(gen_z.weight) != 2:
        raise DoesNotFitError(f"embeddings is {embeddings}, generator.gen_z is {gen_z}")
    draft.used.add(embeddings.key)
    (dim, classes), (out, features) = embeddings.weight, gen_z.weight
    nz, channels = features - dim, out // 16
    if nz < 1 or out != 16 * channels or gen_z.arrays["bias"] != (out,):
        raise DoesNotFitError(f"gen_z is {gen_z}, of {dim} features of the label")
    psi = float(draft.choice("psi", 1.0, "truncation psi"))
    if not 0 < psi <= 1:
        raise GanExportError(f"psi={psi:g}: this generator has statistics for truncations above 0, up to 1")
    z, label = Signature.of_latent(nz, "normal", (1, 1, 1), classes, None).inputs
    draft.takes(replace(z, prior=TruncatedNormal(BOUND)), label)
    draft.classes = classes
    if psi != 1:
        draft.add(Scale, "z_scaled", factor=psi, offset=0.0)
    latent = draft.last
    draft.add(Embedding, "embed", inputs=("label",), classes=classes, dim=dim)
    draft.derive("embed.weight", (f"{embeddings.key}.weight",), (classes, dim), lambda w: w.T)
    joined = draft.add(Concat, "joined", inputs=(latent, "embed"))
    draft.add(Linear, "fc", in_features=features, out_features=out)
    # its result is read as (4, 4, channels)
    draft.derive("fc.weight", (f"{gen_z.key}.weight",), (out, features), lambda w: _channels_first(w, channels))
    draft.derive("fc.bias", (f"{gen_z.key}.bias",), (out,), lambda b: _channels_first(b, channels))
    draft.add(Reshape, "grid", shape=(channels, 4, 4))
    eps = draft.choice("bn_eps", BN_EPS, "eps of the norms")
    number = 0
    for i in range(_layers(draft)):
        path = f"layers.{i}"
        if draft.maybe(f"{path}.snconv1x1_theta"):
            _attention(draft, path, f"attention{i}")
            continue
        _block(draft, path, f"block{i}", joined, psi=psi, eps=eps, up=number % 2 == 1)
        number += 1
    _output(draft, psi, eps)


def _layers(draft: SpecBuilder) -> int:
    count = 0
    while any(draft.maybe(f"layers.{count}.{part}") for part in ("conv_0", "snconv1x1_theta")):
        count += 1
    if count < 2:
        raise DoesNotFitError("no generator.layers.0, generator.layers.1", ("layers.0.conv_0.weight",))
    return count


def _channels_first(array: Doubles, channels: int) -> Doubles:
    return np.moveaxis(array.reshape(4, 4, channels, *array.shape[1:]), 2, 0).reshape(array.shape)


def _module(draft: SpecBuilder, path: str, *names: str) -> Module:
    module = draft.module(path)
    if set(module.arrays) != set(names):
        raise DoesNotFitError(f"{path} is {module}", tuple(f"{path}.{n}" for n in names))
    draft.used.add(module.key)
    return module


def _conv(
    draft: SpecBuilder, path: str, name: str, kernel: int, inputs: tuple[str, ...] | None = None, *, bias: bool = True
) -> str:
    module = draft.module(path)
    shape = module.weight
    if (
        set(module.arrays) != {"weight", *(("bias",) if bias else ())}
        or len(shape) != 4
        or shape[2:] != (kernel, kernel)
        or module.arrays.get("bias", shape[:1]) != shape[:1]
    ):
        raise DoesNotFitError(f"{path} is {module}, not a convolution of {kernel}x{kernel}")
    return draft.add(
        Conv, name, module, inputs=inputs, in_channels=shape[1], out_channels=shape[0], kernel=kernel,
        padding=kernel // 2, bias=bias,
    )  # fmt: skip


def _rows(module: Module) -> int:
    table = module.arrays["running_means"]
    if len(table) != 2 or not 2 <= table[0] <= MOST_ROWS or module.arrays["running_vars"] != table:
        raise DoesNotFitError(f"{module.key} is {module}, without a table of statistics")
    return table[0]


def _norm(draft: SpecBuilder, path: str, name: str, y: str, *, psi: float, eps: float) -> None:
    stored = _module(draft, path, "running_means", "running_vars")
    gain, shift = (_module(draft, f"{path}.{part}", "weight") for part in ("scale", "offset"))
    statistics = Statistics(
        stored, "running_means", "running_vars", (_rows(stored),), lambda table: statistics_at(psi, table)
    )
    conditional_norm(
        draft, name, x=draft.last, y=y, stored=statistics, eps=eps,
        gain=OfLabel(gain, (f"{gain.key}.weight",)), shift=OfLabel(shift, (f"{shift.key}.weight",)),
    )  # fmt: skip
    draft.add(Activation, f"{name}_relu", kind="relu")


def _block(draft: SpecBuilder, path: str, name: str, y: str, *, psi: float, eps: float, up: bool) -> None:
    start = draft.last
    for number, kernel in enumerate((1, 3, 3, 1)):
        _norm(draft, f"{path}.bn_{number}", f"{name}_bn{number}", y, psi=psi, eps=eps)
        if number == 1 and up:
            draft.add(Upsample, f"{name}_up")
        _conv(draft, f"{path}.conv_{number}", f"{name}_conv{number}", kernel)
    made, short = draft.last, start
    before, width = draft.shapes[start][0], draft.shape[0]
    if width != before:
        if width != before // 2:
            raise DoesNotFitError(f"{path} makes {width} of {before} channels, not half of them")
        short = draft.add(Channels, f"{name}_kept", inputs=(start,), start=0, count=width)
    if up:
        short = draft.add(Upsample, f"{name}_wide", inputs=(short,))
    draft.add(Add, name, inputs=(made, short))


def _attention(draft: SpecBuilder, path: str, name: str) -> None:
    start = draft.last
    gamma = _module(draft, path, "gamma")
    if gamma.arrays["gamma"] != (1,):
        raise DoesNotFitError(f"{path} is {gamma}")
    queries = _conv(draft, f"{path}.snconv1x1_theta", f"{name}_queries", 1, bias=False)
    _conv(draft, f"{path}.snconv1x1_phi", f"{name}_phi", 1, (start,), bias=False)
    keys = draft.add(MaxPool, f"{name}_keys")
    _conv(draft, f"{path}.snconv1x1_g", f"{name}_g", 1, (start,), bias=False)
    values = draft.add(MaxPool, f"{name}_values")
    draft.add(Attend, f"{name}_mixed", inputs=(queries, keys, values))
    last, width = _module(draft, f"{path}.snconv1x1_o_conv", "weight"), draft.shapes[start][0]
    made, inside = f"{name}_o", draft.shape[0]
    if last.weight != (width, inside, 1, 1):
        raise DoesNotFitError(f"{last.key} is {last}")
    draft.add(Conv, made, in_channels=inside, out_channels=width, kernel=1, bias=False)
    draft.derive(f"{made}.weight", (f"{last.key}.weight", f"{gamma.key}.gamma"), last.weight, lambda w, g: w * g)
    draft.add(Add, name, inputs=(made, start))


def _output(draft: SpecBuilder, psi: float, eps: float) -> None:
    norm = _module(draft, "bn", "weight", "bias", "running_means", "running_vars")
    width = draft.shape[0]
    if {norm.weight, norm.arrays["bias"]} != {(width,)} or norm.arrays["running_means"] != (_rows(norm), width):
        raise DoesNotFitError(f"bn is {norm}, of {width} channels")

    def factor(weight: Doubles, var: Doubles) -> Doubles:
        return np.asarray(weight / np.sqrt(statistics_at(psi, var) + eps))

    def summand(bias: Doubles, weight: Doubles, mean: Doubles, var: Doubles) -> Doubles:
        return np.asarray(bias - statistics_at(psi, mean) * factor(weight, var))

    draft.add(Affine, "bn", channels=width)
    weight, bias, mean, var = (f"{norm.key}.{n}" for n in ("weight", "bias", "running_means", "running_vars"))
    draft.derive("bn.weight", (weight, var), (width,), factor)
    draft.derive("bn.bias", (bias, weight, mean, var), (width,), summand)
    draft.add(Activation, "relu", kind="relu")
    last = _module(draft, "conv_to_rgb", "weight", "bias")
    shape = last.weight
    if len(shape) != 4 or shape[0] < 3 or shape[1:] != (width, 3, 3) or last.arrays["bias"] != shape[:1]:
        raise DoesNotFitError(f"conv_to_rgb is {last}")
    # the image is the first three of the channels that its code computes
    draft.add(Conv, "to_image", in_channels=width, out_channels=3, kernel=3, padding=1)
    draft.derive("to_image.weight", (f"{last.key}.weight",), (3, width, 3, 3), lambda w: w[:3])
    draft.derive("to_image.bias", (f"{last.key}.bias",), (3,), lambda b: b[:3])
    draft.add(Activation, "tanh", kind="tanh")
    draft.range = (-1.0, 1.0)


FAMILY = Family(NAME, "Hugging Face's port of BigGAN-deep", _build)
