"""ajbrock's BigGAN and BigGAN-deep: `shared`, `linear`, `blocks.{i}.{0,1}`, `output_layer.{0,2}`, norms by `u0`.

In evaluation its spectral norm still runs one power iteration from `u0`, which is done here once, in float64.  A
block's BatchNorm, which the label scales and shifts, becomes a scale and a shift that two Linear layers give.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gan_export.errors import printable
from gan_export.graph.layers import (
    Activation,
    Add,
    Attend,
    BatchNorm,
    Channels,
    Concat,
    Conv,
    Embedding,
    Linear,
    MaxPool,
    Reshape,
    Shape,
    Upsample,
)
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conditional_norm import OfLabel, Statistics, conditional_norm
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError, Module

Doubles = npt.NDArray[np.float64]
BN_EPS = 1e-5
SN_EPS = 1e-12


def over_sigma(weight: Doubles, u: Doubles) -> Doubles:
    """Return the weight over its largest singular value, as one power iteration from `u` (1, out) estimates it."""
    matrix = weight.reshape(weight.shape[0], -1)
    v = u.reshape(-1) @ matrix
    v = v / max(float(np.linalg.norm(v)), SN_EPS)
    left = matrix @ v
    sigma = float(left @ (left / max(float(np.linalg.norm(left)), SN_EPS)))
    return np.asarray(weight / np.float64(sigma))


def _arrays(draft: SpecBuilder, path: str, *names: str, optional: tuple[str, ...] = ()) -> Module:
    module = draft.module(path)
    have = set(module.arrays)
    if set(names) - have or have - set(names) - set(optional):
        raise DoesNotFitError(f"{printable(path, 80)} is {module}", tuple(f"{path}.{n}" for n in names))
    draft.used.add(module.key)
    return module


def _spectral(draft: SpecBuilder, path: str, *more: str) -> tuple[Module, tuple[str, str]]:
    """A module with a normalized weight, and the keys of the weight and of u."""
    module = _arrays(draft, path, "weight", "u0", "sv0", *more)
    if module.arrays["u0"] != (1, module.weight[0]) or any(module.arrays[m] != module.weight[:1] for m in more):
        raise DoesNotFitError(f"{module.key} is {module}")
    return module, (f"{module.key}.weight", f"{module.key}.u0")


def _conv(draft: SpecBuilder, path: str, name: str, kernel: int, inputs: tuple[str, ...] | None = None) -> str:
    bias = () if ".theta" in path or ".phi" in path or path.endswith((".g", ".o")) else ("bias",)
    module, keys = _spectral(draft, path, *bias)
    shape = module.weight
    if len(shape) != 4 or shape[2:] != (kernel, kernel):
        raise DoesNotFitError(f"{module.key} is {module}, not a convolution of {kernel}x{kernel}")
    draft.add(
        Conv, name, inputs=inputs, in_channels=shape[1], out_channels=shape[0], kernel=kernel, padding=kernel // 2,
        bias=bool(bias),
    )  # fmt: skip
    draft.derive(f"{name}.weight", keys, shape, over_sigma)
    if bias:
        draft.derive(f"{name}.bias", (f"{module.key}.bias",), shape[:1], lambda b: b)
    return name


def _conditional_norm(draft: SpecBuilder, path: str, name: str, features: str, then: str) -> None:
    """Append (x - mean) / √(var + eps) × (1 + gain(y)) + bias(y), then ReLU."""
    norm = _arrays(draft, path, "stored_mean", "stored_var")
    gain, bias = (_spectral(draft, f"{path}.{p}") for p in ("gain", "bias"))
    conditional_norm(
        draft, name, x=then, y=features, stored=Statistics(norm), eps=BN_EPS,
        gain=OfLabel(gain[0], gain[1], over_sigma), shift=OfLabel(bias[0], bias[1], over_sigma),
    )  # fmt: skip
    draft.add(Activation, f"{name}_relu", kind="relu")


def _block(draft: SpecBuilder, path: str, name: str, features: str) -> None:
    start = draft.last
    _conditional_norm(draft, f"{path}.bn1", f"{name}_bn1", features, start)
    draft.add(Upsample, f"{name}_up")
    _conv(draft, f"{path}.conv1", f"{name}_conv1", 3)
    _conditional_norm(draft, f"{path}.bn2", f"{name}_bn2", features, f"{name}_conv1")
    _conv(draft, f"{path}.conv2", f"{name}_conv2", 3)
    draft.add(Upsample, f"{name}_wide", inputs=(start,))
    _conv(draft, f"{path}.conv_sc", f"{name}_short", 1)
    draft.add(Add, name, inputs=(f"{name}_conv2", f"{name}_short"))


def _deep_block(draft: SpecBuilder, path: str, name: str, features: str, up: bool) -> None:
    start = draft.last
    _conditional_norm(draft, f"{path}.bn1", f"{name}_bn1", features, start)
    _conv(draft, f"{path}.conv1", f"{name}_conv1", 1)
    _conditional_norm(draft, f"{path}.bn2", f"{name}_bn2", features, f"{name}_conv1")
    if up:
        draft.add(Upsample, f"{name}_up")
    _conv(draft, f"{path}.conv2", f"{name}_conv2", 3)
    _conditional_norm(draft, f"{path}.bn3", f"{name}_bn3", features, f"{name}_conv2")
    _conv(draft, f"{path}.conv3", f"{name}_conv3", 3)
    _conditional_norm(draft, f"{path}.bn4", f"{name}_bn4", features, f"{name}_conv3")
    made = _conv(draft, f"{path}.conv4", f"{name}_conv4", 1)
    width = draft.shapes[made][0]
    short = start
    if width < draft.shapes[start][0]:
        short = draft.add(Channels, f"{name}_kept", inputs=(start,), start=0, count=width)
    if up:
        short = draft.add(Upsample, f"{name}_wide", inputs=(short,))
    draft.add(Add, name, inputs=(made, short))


def _attention(draft: SpecBuilder, path: str, name: str) -> None:
    start = draft.last
    theta = _conv(draft, f"{path}.theta", f"{name}_queries", 1)
    _conv(draft, f"{path}.phi", f"{name}_phi", 1, (start,))
    keys = draft.add(MaxPool, f"{name}_keys")
    _conv(draft, f"{path}.g", f"{name}_g", 1, (start,))
    values = draft.add(MaxPool, f"{name}_values")
    draft.add(Attend, f"{name}_mixed", inputs=(theta, keys, values))
    made = _conv(draft, f"{path}.o", f"{name}_o", 1)
    gamma = f"{draft.module(f'{path}.theta').key.rpartition('.')[0]}.gamma"
    if gamma not in draft.state.scalars:
        raise DoesNotFitError(f"no {path}.gamma", (f"{path}.gamma",))
    before = draft.derived[f"{made}.weight"]
    draft.derive(f"{made}.weight", (*before.keys, gamma), before.shape, lambda w, u, g: over_sigma(w, u) * g)
    draft.add(Add, name, inputs=(made, start))


def _build(draft: SpecBuilder) -> None:
    shared = _arrays(draft, "shared", "weight")
    if len(shared.weight) != 2:
        raise DoesNotFitError(f"shared is {shared}, not an Embedding")
    classes, dim = shared.weight
    linear, linear_keys = _spectral(draft, "linear", "bias")
    if len(linear.weight) != 2:
        raise DoesNotFitError(f"linear is {linear}")
    out, first = linear.weight
    blocks = draft.numbered("blocks.#.0.conv1")
    deep = draft.maybe("blocks.0.0.conv4") is not None
    channels = blocks[0][1].weight[1] if len(blocks[0][1].weight) == 4 else 0
    gain = draft.module("blocks.0.0.bn1.gain").weight
    if len(gain) != 2:
        raise DoesNotFitError("blocks.0.0.bn1.gain is no Linear")
    features = gain[1]
    if out != 16 * channels:
        raise DoesNotFitError(f"linear gives {out}, not 16 x {channels}")
    parts = features - dim  # latents joined to the label's features: a chunk of its own for each block, or none
    nz = first - dim if deep else first * (len(blocks) + 1) if parts else first
    if nz < 1 or (deep and features != first) or (not deep and parts not in (0, first)):
        raise DoesNotFitError(f"{first} features for linear, {features} for bn1 and {dim} of the label don't fit")
    draft.classes, draft.shapes["z"], draft.shapes["label"] = classes, (nz,), ()
    draft.add(Embedding, "embed", inputs=("label",), classes=classes, dim=dim)
    _plain(draft, "embed.weight", f"{shared.key}.weight", shared.weight)
    source, ys = _features(draft, deep, parts, nz, len(blocks))
    draft.add(Linear, "fc", inputs=(source,), in_features=first, out_features=out)
    draft.derive("fc.weight", linear_keys, (out, first), over_sigma)
    _plain(draft, "fc.bias", f"{linear.key}.bias", (out,))
    draft.add(Reshape, "grid", shape=(channels, 4, 4))
    for i, _ in blocks:
        if deep:
            _deep_block(draft, f"blocks.{i}.0", f"block{i}", ys[i], up=i % 2 == 1)
        else:
            _block(draft, f"blocks.{i}.0", f"block{i}", ys[i])
        if draft.maybe(f"blocks.{i}.1.theta"):
            _attention(draft, f"blocks.{i}.1", f"attention{i}")
    _output(draft)


def _features(draft: SpecBuilder, deep: bool, parts: int, nz: int, blocks: int) -> tuple[str, list[str]]:
    """Return the input of `linear`, and of each block's norms."""
    if deep:
        joined = draft.add(Concat, "joined", inputs=("embed", "z"))
        return joined, [joined] * blocks
    if not parts:
        return "z", ["embed"] * blocks
    chunks = [draft.add(Channels, f"z{k}", inputs=("z",), start=k * parts, count=parts) for k in range(blocks + 1)]
    ys = [draft.add(Concat, f"joined{k}", inputs=("embed", chunk)) for k, chunk in enumerate(chunks[1:])]
    return chunks[0], ys


def _plain(draft: SpecBuilder, parameter: str, key: str, shape: Shape) -> None:
    draft.derive(parameter, (key,), shape, lambda array: array)


def _output(draft: SpecBuilder) -> None:
    norm = _arrays(draft, "output_layer.0", "gain", "bias", "stored_mean", "stored_var")
    width = draft.shape[0]
    if set(norm.arrays.values()) != {(width,)}:
        raise DoesNotFitError(f"{norm.key} is {norm}, of {width} channels")
    draft.add(BatchNorm, "bn", channels=width, eps=BN_EPS)
    names = {"weight": "gain", "bias": "bias", "running_mean": "stored_mean", "running_var": "stored_var"}
    for ours, theirs in names.items():
        _plain(draft, f"bn.{ours}", f"{norm.key}.{theirs}", (width,))
    draft.add(Activation, "relu", kind="relu")
    _conv(draft, "output_layer.2", "to_image", 3)
    if draft.shape[0] > 3:  # BigGAN-deep's first versions give 128 channels, of which three are the image
        draft.add(Channels, "rgb", start=0, count=3)
    draft.add(Activation, "tanh", kind="tanh")
    draft.range = (-1.0, 1.0)


FAMILY = Family("biggan", "ajbrock's BigGAN and BigGAN-deep", _build)
