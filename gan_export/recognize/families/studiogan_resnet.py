"""PyTorch-StudioGAN's resnet and big_resnet: `linear0`, `blocks.{i}.0`, `bn4`, `conv2d5`; its BatchNorms have eps 1e-4.

A block has `bn1`, `conv2d1`, `bn2`, `conv2d2`, and `conv2d0` as the shortcut.  A self-attention (`conv1x1_theta`,
`sigma`) counts as a block.  Conditional BatchNorms have `bn1.bn`, `.gain` and `.bias`.  In resnet, they read the label
as one-hot.  In big_resnet, they read the label's embedding (`shared`), joined with a chunk of z per block.
"""

from __future__ import annotations

import numpy as np

from gan_export.graph.layers import (
    Add,
    Attend,
    BatchNorm,
    Channels,
    Concat,
    Conv,
    Embedding,
    Linear,
    MaxPool,
    OneHot,
    ScaleChannels,
    ShiftChannels,
)
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError, Module


def _build(draft: SpecBuilder) -> None:
    numbers = _blocks(draft)
    residual = [i for i in numbers if draft.maybe(f"blocks.{i}.0.conv2d1") is not None]
    start, features = _features(draft, residual)
    linear = draft.module("linear0")
    draft.add(
        Linear, "fc", linear, inputs=(start,), in_features=linear.linear[0], out_features=linear.linear[1],
        bias=linear.bias,
    )  # fmt: skip
    draft.picture(draft.module(f"blocks.{residual[0]}.0.conv2d1").conv[0])
    if draft.shape[1:] != (4, 4):
        raise DoesNotFitError(f"linear0 gives an image of {draft.shape[1]}x{draft.shape[2]}, not of 4x4")
    for i in numbers:
        if i in residual:
            _block(draft, f"blocks.{i}.0", f"block{i}", features[residual.index(i)])
        else:
            _attention(draft, f"blocks.{i}.0", f"attention{i}")
    draft.batch_norm("bn", draft.module("bn4"))
    draft.activation("")
    draft.conv("conv", draft.module("conv2d5"))
    draft.output()


def _blocks(draft: SpecBuilder) -> list[int]:
    """Return the numbers of all blocks, attention included."""
    found = draft.matching(r"blocks\.(\d{1,4})\.0\.(?:conv2d1|conv1x1_theta)")
    numbers = [int(i) for (i,), _ in found]
    if not numbers or numbers != list(range(len(numbers))):
        raise DoesNotFitError("no blocks.0.0.conv2d1", ("blocks.0.0.conv2d1.weight",))
    return numbers


def _features(draft: SpecBuilder, blocks: list[int]) -> tuple[str, list[str]]:
    """Return the name of `linear0`'s input, and of the input of each block's norms: "" if they are not conditional."""
    first = draft.module("linear0").linear[0]
    gain = draft.state.modules.get(f"blocks.{blocks[0]}.0.bn1.gain")
    if gain is None:
        draft.latent(first)
        return draft.last, [""] * len(blocks)
    inside = gain.linear[0]
    shared = _shared(draft)
    if shared is None:  # resnet: the norms read only the label
        draft.start(first)
        draft.classes, draft.shapes["label"] = inside, ()
        return "z", [draft.add(OneHot, "onehot", inputs=("label",), classes=inside)] * len(blocks)
    draft.classes, dim = shared.weight
    if inside != dim + first:
        raise DoesNotFitError(f"{gain.key} takes {inside} features, not {dim} of the label and {first} of z")
    draft.start(first * (len(blocks) + 1))
    draft.shapes["label"] = ()
    draft.add(Embedding, "embed", shared, inputs=("label",), classes=draft.classes, dim=dim)
    chunks = [draft.add(Channels, f"z{k}", inputs=("z",), start=k * first, count=first) for k in range(len(blocks) + 1)]
    joined = [draft.add(Concat, f"joined{k}", inputs=("embed", chunk)) for k, chunk in enumerate(chunks[1:])]
    return chunks[0], joined


def _shared(draft: SpecBuilder) -> Module | None:
    found = draft.maybe("shared")
    if found is not None and found.kind not in ("linear", "embedding"):
        raise DoesNotFitError(f"{found.key} is {found}, not an Embedding")
    return found


def _block(draft: SpecBuilder, path: str, name: str, features: str) -> None:
    start = draft.last
    _norm(draft, f"{path}.bn1", f"{name}_bn1", features)
    draft.activation(1, f"{name}_")
    draft.upsample(f"{name}_up")
    draft.conv(f"{name}_conv1", draft.module(f"{path}.conv2d1"))
    _norm(draft, f"{path}.bn2", f"{name}_bn2", features)
    draft.activation(2, f"{name}_")
    draft.conv(f"{name}_conv2", draft.module(f"{path}.conv2d2"))
    inner = draft.last
    draft.upsample(f"{name}_up_shortcut", inputs=(start,))
    draft.conv(f"{name}_shortcut", draft.module(f"{path}.conv2d0"))
    draft.plus(f"{name}_sum", inner, draft.last)


def _norm(draft: SpecBuilder, path: str, name: str, features: str) -> None:
    """Append a BatchNorm; with `features`, one without weights, × (1 + gain(features)) + bias(features)."""
    if not features:
        draft.batch_norm(name, draft.module(path))
        return
    norm, gain, bias = (draft.module(f"{path}.{part}") for part in ("bn", "gain", "bias"))
    channels, inside = norm.channels, draft.shapes[features][0]
    if norm.weight or {gain.linear, bias.linear} != {(inside, channels)} or gain.bias or bias.bias:
        raise DoesNotFitError(f"{path}: {norm}, {gain} and {bias} are not a conditional BatchNorm")
    given = draft.last
    eps = draft.choice("bn_eps", draft.family.bn_eps, "BatchNorm's eps")
    draft.add(BatchNorm, f"{name}_normed", norm, inputs=(given,), channels=channels, eps=eps, affine=False)
    draft.add(Linear, f"{name}_scale", inputs=(features,), in_features=inside, out_features=channels)
    key = f"{gain.key}.weight"
    draft.derive(f"{name}_scale.weight", (key,), (channels, inside), lambda w: w)
    draft.derive(f"{name}_scale.bias", (key,), (channels,), lambda w: np.ones(len(w)))
    draft.used.add(gain.key)
    draft.add(Linear, f"{name}_shift", bias, inputs=(features,), in_features=inside, out_features=channels, bias=False)
    draft.add(ScaleChannels, f"{name}_scaled", inputs=(f"{name}_normed", f"{name}_scale"))
    draft.add(ShiftChannels, name, inputs=(f"{name}_scaled", f"{name}_shift"))


def _attention(draft: SpecBuilder, path: str, name: str) -> None:
    """Append x + sigma × o(softmax(θ(x)ᵀ φ(x)) g(x)), with a max pooling by 2 after φ and g."""
    start = draft.last
    queries = _pointwise(draft, f"{path}.conv1x1_theta", f"{name}_queries", start)
    _pointwise(draft, f"{path}.conv1x1_phi", f"{name}_phi", start)
    keys = draft.add(MaxPool, f"{name}_keys")
    _pointwise(draft, f"{path}.conv1x1_g", f"{name}_g", start)
    values = draft.add(MaxPool, f"{name}_values")
    mixed = draft.add(Attend, f"{name}_mixed", inputs=(queries, keys, values))
    made = _pointwise(draft, f"{path}.conv1x1_attn", f"{name}_o", mixed)
    sigma = draft.module(path)
    if dict(sigma.arrays) != {"sigma": (1,)}:
        raise DoesNotFitError(f"{sigma.key} is {sigma}, not the sigma of an attention")
    weight = draft.keys.pop(f"{made}.weight")
    shape = draft.module(f"{path}.conv1x1_attn").weight
    draft.derive(f"{made}.weight", (weight, f"{sigma.key}.sigma"), shape, lambda w, s: w * s[0])
    draft.used.add(sigma.key)
    draft.add(Add, name, inputs=(start, made))


def _pointwise(draft: SpecBuilder, path: str, name: str, given: str) -> str:
    module = draft.module(path)
    inside, out = module.conv
    return draft.add(Conv, name, module, inputs=(given,), in_channels=inside, out_channels=out, kernel=1, bias=False)


FAMILY = Family("studiogan_resnet", "PyTorch-StudioGAN's resnet and big_resnet", _build, bn_eps=1e-4)
