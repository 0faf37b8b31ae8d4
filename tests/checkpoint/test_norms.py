"""Spectral and weight normalisation, old and new, give the weights that PyTorch computes in evaluation mode."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gan_export.checkpoint import read

from .makers import generator, prefixed, saved

Norm = Callable[[nn.Module], nn.Module]
NORMS: dict[str, Norm] = {
    "spectral hook": nn.utils.spectral_norm,
    "spectral parametrization": nn.utils.parametrizations.spectral_norm,
    "weight hook": nn.utils.weight_norm,
    "weight parametrization": nn.utils.parametrizations.weight_norm,
    "weight hook, whole": lambda m: nn.utils.weight_norm(m, dim=None),
    "weight hook, outputs": lambda m: nn.utils.weight_norm(m, dim=1),
}


def normalized(norm: Norm, width: int = 8, nz: int = 12, steps: int = 3) -> nn.Sequential:
    """The classic generator with normalised convolutions, a few training steps old."""
    net = generator(width, nz)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i, m in enumerate(net):
            if isinstance(m, nn.ConvTranspose2d):
                net[i] = norm(m)
    sgd = torch.optim.SGD(net.parameters(), 0.1)
    net.train()
    for _ in range(steps):
        sgd.zero_grad()
        net(torch.randn(4, nz, 1, 1)).square().mean().backward()
        sgd.step()
    return net.eval()


def evaluated(net: nn.Sequential) -> list[np.ndarray]:
    """The convolutions' weights as the module uses them."""
    with torch.no_grad():
        net(torch.zeros(1, net[0].in_channels, 1, 1))
        return [m.weight.detach().numpy() for m in net if isinstance(m, nn.ConvTranspose2d)]


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize(("width", "nz"), [(8, 12), (6, 24)], ids=["", "square first layer"])  # 24 -> 24
def test_folded(tmp_path: Path, name: str, width: int, nz: int) -> None:
    net = normalized(NORMS[name], width, nz)
    checkpoint = read(saved(tmp_path / "g.pth", prefixed(net.state_dict())))
    got = [v for k, v in checkpoint.weights.items() if v.ndim == 4]
    for have, want in zip(got, evaluated(net), strict=True):
        np.testing.assert_allclose(have, want, rtol=2e-6, atol=1e-7)
    kind = name.split(maxsplit=1)[0]
    assert f"{kind} normalization folded into 4 weights" in checkpoint.reading.notes
    assert not [k for k in checkpoint.source.ignored if "weight" in k or "parametrizations" in k]


def test_spectral_before_its_right_vector_was_kept(tmp_path: Path) -> None:
    net = normalized(nn.utils.spectral_norm, steps=40)
    state = {k: v for k, v in prefixed(net.state_dict()).items() if not k.endswith("_v")}
    checkpoint = read(saved(tmp_path / "g.pth", state))
    for have, want in zip((v for v in checkpoint.weights.values() if v.ndim == 4), evaluated(net), strict=True):
        np.testing.assert_allclose(have, want, rtol=0.02, atol=1e-3)  # from u alone: near, as the vectors converge


def test_spectral_under_the_name_of_a_common_class(tmp_path: Path) -> None:
    net = normalized(nn.utils.spectral_norm)
    state = {
        k.replace("weight_", "module.weight_").replace("_orig", "_bar"): v
        for k, v in prefixed(net.state_dict()).items()
    }
    state = {
        k.replace(".bias", ".module.bias") if k in ("model.0.bias", "model.3.bias") else k: v for k, v in state.items()
    }
    checkpoint = read(saved(tmp_path / "g.pth", state))
    for have, want in zip((v for v in checkpoint.weights.values() if v.ndim == 4), evaluated(net), strict=True):
        np.testing.assert_allclose(have, want, rtol=2e-6, atol=1e-7)


def test_a_pickled_module_with_spectral_norm(tmp_path: Path) -> None:
    net = normalized(nn.utils.spectral_norm)
    checkpoint = read(saved(tmp_path / "g.pt", net))
    for have, want in zip((v for v in checkpoint.weights.values() if v.ndim == 4), evaluated(net), strict=True):
        np.testing.assert_allclose(have, want, rtol=2e-6, atol=1e-7)


def test_singular_values_of_nought_are_said(tmp_path: Path) -> None:
    state = prefixed(normalized(nn.utils.spectral_norm).state_dict())
    state["model.3.weight_u"] = torch.zeros_like(state["model.3.weight_u"])
    assert any("3.weight" in n and "NaN" in n for n in read(saved(tmp_path / "g.pth", state)).reading.notes)
