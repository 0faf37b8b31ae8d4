"""The interpreter of a spec, and lowering, against torch's own layers."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gan_export.errors import GanExportError
from gan_export.graph import layers as la
from gan_export.graph import spec as s
from gan_export.graph.lower import lower
from gan_export.graph.torch_module import build_module


def build(start: str = "z", **head: Any) -> tuple[s.GeneratorSpec, dict[str, np.ndarray]]:
    """A spec with every kind of layer that pictures go through, residual and conditional, and its weights."""
    c = s.Chain(start)
    c.add(la.Embedding, "embed", inputs=("label",), classes=4, dim=6)
    c.add(la.OneHot, "hot", inputs=("label",), classes=4)
    c.add(la.Concat, "joined", inputs=("z", "embed", "hot"))
    c.add(la.Linear, "fc", in_features=20, out_features=5 * 4 * 4)
    c.add(la.BatchNorm, "bn_fc", channels=80, eps=0.8)
    c.add(la.Reshape, "seed", shape=(5, 4, 4))
    c.add(la.BatchNorm, "bn_lone", channels=5)
    c.add(la.Activation, "leaky", kind="leaky_relu", slope=0.2)
    c.add(la.Upsample, "up", mode="bilinear")
    c.add(la.Conv, "conv", in_channels=5, out_channels=7, kernel=3, padding=1, bias=False)
    c.add(la.BatchNorm, "bn_conv", channels=7, affine=False)
    c.add(la.Conv, "skip", inputs=("up",), in_channels=5, out_channels=7, kernel=1)
    c.add(la.Add, "added", inputs=("bn_conv", "skip"))
    c.add(la.Multiply, "squared", inputs=("added", "bn_conv"))
    c.add(la.Upsample, "nearest", factor=3)
    c.add(la.ConvTranspose, "convt", in_channels=7, out_channels=3, kernel=3, stride=2, padding=1, output_padding=1)
    c.add(la.BatchNorm, "bn_last", channels=3)
    c.add(la.Crop, "crop", top=1, left=2, height=40, width=44)
    c.add(la.Activation, "sigmoid", kind="sigmoid")
    c.add(la.Scale, "scale", factor=2.0, offset=-1.0)
    spec = s.GeneratorSpec.of_latent(
        arch="every", nz=10, prior="normal", image=(3, 40, 44), range=(-1.0, 1.0), classes=4, layers=tuple(c), **head
    )
    rng = np.random.default_rng(0)
    weights = {
        k: (rng.uniform(0.5, 2, shape) if "var" in k else rng.normal(0, 0.4, shape)).astype(np.float32)
        for k, shape in spec.parameters().items()
    }
    return spec, weights


# What Python, a module or its methods have for themselves, and what is no name at all.
AWKWARD = (
    "class", "forward", "train", "half", "graph", "to_bytes", "training", "a.b", "a", "1", "", "é", "print", "_modules",
    "layer_class", "self", "torch", "float", "None",
)  # fmt: skip


def renamed(
    spec: s.GeneratorSpec, weights: dict[str, np.ndarray], names: tuple[str, ...]
) -> tuple[s.GeneratorSpec, dict[str, np.ndarray]]:
    """The first layers called by these names instead."""
    new = {layer.name: name for layer, name in zip(spec.layers, names, strict=False)}
    layers = tuple(
        dataclasses.replace(
            layer, name=new.get(layer.name, layer.name), inputs=tuple(new.get(i, i) for i in layer.inputs)
        )
        for layer in spec.layers
    )
    parts = {key: key.rpartition(".") for key in weights}
    moved = {f"{new.get(layer, layer)}.{part}": weights[key] for key, (layer, _, part) in parts.items()}
    return dataclasses.replace(spec, layers=layers), moved


def by_hand(w: dict[str, np.ndarray], z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    t = {k: torch.from_numpy(v) for k, v in w.items()}

    def norm(x: torch.Tensor, name: str, eps: float = 1e-5) -> torch.Tensor:
        shape = (1, -1) + (1,) * (x.dim() - 2)
        y = (x - t[f"{name}.running_mean"].view(shape)) / (t[f"{name}.running_var"].view(shape) + eps).sqrt()
        if f"{name}.weight" in t:
            y = y * t[f"{name}.weight"].view(shape) + t[f"{name}.bias"].view(shape)
        return y

    x = torch.cat((z, t["embed.weight"][label], F.one_hot(label, 4).float()), 1)
    x = norm(F.linear(x, t["fc.weight"], t["fc.bias"]), "bn_fc", 0.8).view(-1, 5, 4, 4)
    x = F.leaky_relu(norm(x, "bn_lone"), 0.2)
    up = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    main = norm(F.conv2d(up, t["conv.weight"], padding=1), "bn_conv")
    x = (main + F.conv2d(up, t["skip.weight"], t["skip.bias"])) * main
    x = x.repeat_interleave(3, 2).repeat_interleave(3, 3)
    x = F.conv_transpose2d(x, t["convt.weight"], t["convt.bias"], stride=2, padding=1, output_padding=1)
    x = norm(x, "bn_last")[:, :, 1:41, 2:46]
    return torch.sigmoid(x) * 2 - 1


@pytest.mark.parametrize("lowered", [False, True])
def test_every_layer_does_what_torch_does(lowered: bool) -> None:
    spec, weights = build()
    z = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    label = torch.tensor([0, 1, 2, 3, 3, 0])
    module = build_module(*lower(spec, weights)) if lowered else build_module(spec, weights)
    wanted = by_hand(weights, z, label)
    assert (module(z, label) - wanted).abs().max() < 1e-5
    assert torch.equal(module(z[:, :, None, None], label), module(z, label))


@pytest.mark.parametrize("lowered", [False, True])
def test_a_layer_may_have_any_name(lowered: bool) -> None:
    spec, weights = build()
    assert len(spec.layers) >= len(AWKWARD)
    z, label = torch.randn(3, 10, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 3, 1])
    wanted = build_module(spec, weights)(z, label)
    odd = renamed(spec, weights, AWKWARD)
    module = build_module(*lower(*odd)) if lowered else build_module(*odd)
    assert (module(z, label) - wanted).abs().max() < 1e-5
    assert torch.equal(torch.jit.script(module)(z, label), module(z, label))
    module.train().eval().double()
    assert (build_module(*odd, output="bytes")(z, label) == build_module(spec, weights, output="bytes")(z, label)).all()


def test_lowering_leaves_no_batch_norm_and_one_affine() -> None:
    spec, weights = build()
    lowered, arrays = lower(spec, weights)
    kinds = [type(layer).__name__ for layer in lowered.layers]
    assert "BatchNorm" not in kinds
    assert [layer.name for layer in lowered.layers if isinstance(layer, la.Affine)] == ["bn_lone"]
    assert set(arrays) == set(lowered.parameters())


def test_a_layer_that_two_read_is_not_folded() -> None:
    c = s.Chain()
    c.add(la.Reshape, "seed", shape=(4, 1, 1))
    c.add(la.ConvTranspose, "convt", in_channels=4, out_channels=3, kernel=4)
    c.add(la.BatchNorm, "bn", channels=3)
    c.add(la.Add, "sum", inputs=("bn", "convt"))
    spec = s.GeneratorSpec.of_latent("two", 4, "normal", (3, 4, 4), None, tuple(c))
    rng = np.random.default_rng(1)
    weights = {k: rng.uniform(0.5, 1.5, v).astype(np.float32) for k, v in spec.parameters().items()}
    z = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert (build_module(spec, weights)(z) - build_module(*lower(spec, weights))(z)).abs().max() < 1e-5


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_convolution_of_one_pixel_is_computed_before_the_upsampling(axes: int) -> None:
    def each(number: int) -> Any:
        return number if axes == 2 else (number,) * axes

    up, conv = (la.Upsample, la.Conv) if axes == 2 else (la.UpsampleNd, la.ConvNd)
    one = {"kernel": each(1), "stride": each(1), "padding": each(0)}
    c = s.Chain()
    c.add(la.Reshape, "seed", shape=(2, *(3,) * axes))
    c.add(up, "shared", factor=each(2))
    c.add(conv, "kept", in_channels=2, out_channels=2, **one)
    c.add(la.Add, "sum", inputs=("kept", "shared"))
    c.add(up, "smooth", factor=each(2), mode="bilinear" if axes == 2 else "linear")
    c.add(up, "blocks", factor=each(3))
    c.add(conv, "first", in_channels=2, out_channels=4, bias=False, **one)
    c.add(la.BatchNorm, "bn", channels=4)
    c.add(conv, "second", in_channels=4, out_channels=3, **one)
    spec = s.GeneratorSpec.of_latent("ups", 2 * 3**axes, "normal", (3, *(36,) * axes), None, tuple(c))
    rng = np.random.default_rng(1)
    weights = {k: rng.uniform(0.5, 1.5, v).astype(np.float32) for k, v in spec.parameters().items()}
    lowered, arrays = lower(spec, weights)
    names = [layer.name for layer in lowered.layers]
    assert names == ["seed", "shared", "kept", "sum", "first", "second", "smooth", "blocks"]
    assert s.flops(lowered)["first"] * 6**axes == s.flops(spec)["first"] + 4 * 36**axes  # a bias for the BatchNorm
    z = torch.randn(3, spec.signature.inputs[0].dims({})[0], generator=torch.Generator().manual_seed(0))
    wanted = build_module(spec, weights)(z)
    assert (build_module(lowered, arrays)(z) - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_activations_are_applied_before_a_concatenation_and_a_bias_in_the_convolution() -> None:
    c = s.Chain()
    c.add(la.Reshape, "seed", shape=(2, 4, 4))
    c.add(la.Conv, "conv", in_channels=2, out_channels=3, kernel=3, stride=1, padding=1, bias=False)
    c.add(la.ChannelBias, "own_bias", channels=3)
    c.add(la.Activation, "leaky", kind="leaky_relu", slope=0.2)
    c.add(la.Conv, "inner", in_channels=3, out_channels=2, kernel=3, stride=1, padding=1)
    c.add(la.Concat, "joined", inputs=("own_bias", "inner"))
    c.add(la.Activation, "relu", kind="relu")
    c.add(la.Concat, "again", inputs=("relu", "seed"))
    c.add(la.ChannelBias, "kept_bias", channels=7)
    c.add(la.Activation, "tanh", kind="tanh")
    spec = s.GeneratorSpec.of_latent("joins", 32, "normal", (7, 4, 4), None, tuple(c))
    rng = np.random.default_rng(1)
    weights = {k: rng.uniform(-1.0, 1.0, v).astype(np.float32) for k, v in spec.parameters().items()}
    lowered, arrays = lower(spec, weights)
    inputs = {layer.name: layer.inputs for layer in lowered.layers}
    assert "own_bias" not in inputs
    assert "joined" not in inputs
    assert inputs["relu_0"] == ("leaky",)
    assert inputs["relu_1"] == ("inner",)
    assert inputs["relu"] == ("relu_0", "relu_1")
    assert inputs["again"] == ("relu", "seed")
    assert inputs["kept_bias"] == ("again",)  # no layer with weights gives its input
    z = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    wanted = build_module(spec, weights)(z)
    assert (build_module(lowered, arrays)(z) - wanted).abs().max() < 1e-6
    taken = (*tuple(c)[:-1], la.Activation("relu_1", ("kept_bias",), "tanh"))
    spec = s.GeneratorSpec.of_latent("joins", 32, "normal", (7, 4, 4), None, taken)
    lowered, arrays = lower(spec, weights)
    assert "joined" in {layer.name for layer in lowered.layers}  # or two layers would have a name
    assert (build_module(lowered, arrays)(z) - wanted).abs().max() < 1e-6


def test_the_module_scripts_and_traces() -> None:
    spec, weights = build()
    module = build_module(spec, weights)
    z, label = torch.randn(3, 10), torch.tensor([0, 1, 2])
    for form in (torch.jit.script(module), torch.jit.trace(module, (z[:2], label[:2]))):
        assert torch.allclose(form(z, label), module(z, label), atol=1e-6)


def test_a_spec_survives_json() -> None:
    spec, _ = build()
    assert s.GeneratorSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    "data", [{}, {"layers": 3}, {"layers": [{"op": "Nothing"}]}, {"layers": [{"op": "Add", "what": 1}]}]
)
def test_what_is_no_spec_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(GanExportError):
        s.GeneratorSpec.from_json(data)


def test_weights_that_do_not_fit_are_refused_by_name() -> None:
    spec, weights = build()
    with pytest.raises(GanExportError, match=r"lack fc\.bias"):
        build_module(spec, {k: v for k, v in weights.items() if k != "fc.bias"})
    with pytest.raises(GanExportError, match="more"):
        build_module(spec, {**weights, "more": weights["fc.bias"]})
    with pytest.raises(GanExportError, match=r"fc\.bias"):
        build_module(spec, {**weights, "fc.bias": weights["fc.bias"][:-1]})


def test_flops_of_a_transposed_convolution_are_its_products() -> None:
    c = s.Chain()
    c.add(la.Reshape, "seed", shape=(4, 3, 3))
    c.add(la.ConvTranspose, "convt", in_channels=4, out_channels=5, kernel=4, stride=2, padding=1, bias=False)
    spec = s.GeneratorSpec.of_latent("one", 36, "normal", (5, 6, 6), None, tuple(c))
    assert s.flops(spec)["convt"] == 2 * (3 * 3 * 4) * (5 * 4 * 4)


def test_nothing_random_is_touched() -> None:
    spec, weights = build()
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    build_module(spec, weights)
    assert torch.equal(torch.rand(1), wanted)
    assert all(not p.requires_grad for p in build_module(spec, weights).parameters())
    assert isinstance(build_module(spec, weights), nn.Module)
