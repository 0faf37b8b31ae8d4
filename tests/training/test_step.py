from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_export.training import losses, models, recipe, snapshot, thin
from gan_export.training.adam import Adam
from gan_export.training.step import step
from tests.training.common import ROOT

CPU = torch.device("cpu")


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / "train" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


classic = _script("classic")


def _twins(settings: list[str]) -> tuple[snapshot.State, Any]:
    """The trainer's state and the reference's players with equal weights."""
    ours = snapshot.start(recipe.load("mnist32-classic", settings), CPU)
    reference = classic.Players(ours.recipe.discriminator.widths[0])
    reference.g.load_state_dict(ours.generator.state_dict(), strict=True)
    reference.d.load_state_dict(ours.discriminator.state_dict(), strict=True)
    return ours, reference


def _drawer(seed: int) -> Callable[[int], Tensor]:
    noise = torch.Generator().manual_seed(seed)
    return lambda n: torch.randn(n, 100, 1, 1, generator=noise)


@pytest.fixture
def double() -> Iterator[None]:
    """Float64 throughout: Adam's first moves are the signs of gradients, so float32 rounding alone turns some."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("channels_last", ["true", "false"])
def test_a_step_of_the_trainer_is_a_step_of_the_classic_loop(channels_last: str) -> None:
    """Two steps from one state and the same batches: every weight, statistic and moment agrees."""
    narrow = ["generator.widths=[32, 16, 8]", "discriminator.widths=[8, 16, 32]"]
    ours, reference = _twins([*narrow, "train.seed=3", f"compute.channels_last={channels_last}"])
    draw = _drawer(3)
    for _ in range(2):
        real = torch.rand(8, 1, 32, 32) * 2 - 1
        readings = step(ours, real)
        losses_of_both = classic.step(reference, real, draw)
        torch.testing.assert_close(readings[:2], torch.stack(losses_of_both).detach())
    for net, twin in ((ours.generator, reference.g), (ours.discriminator, reference.d)):
        for (name, got), want in zip(net.state_dict().items(), twin.state_dict().values(), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-7, msg=lambda m, n=name: f"{n}: {m}")
    for adam, twin in ((ours.optimizer_g, reference.adam_g), (ours.optimizer_d, reference.adam_d)):
        for mean, its_mean, square, its_square in _states(adam, twin):
            torch.testing.assert_close(mean, its_mean, rtol=1e-6, atol=1e-9)
            torch.testing.assert_close(square, its_square, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("channels_last", ["true", "false"])
def test_its_gradients_in_float32_are_the_classic_ones(channels_last: str) -> None:
    ours, reference = _twins(["train.seed=4", f"compute.channels_last={channels_last}"])
    real = torch.rand(16, 1, 32, 32) * 2 - 1
    twins = classic.step(reference, real, _drawer(4))
    readings = step(ours, real)
    torch.testing.assert_close(readings[0], twins[0].detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(readings[1], twins[1].detach(), rtol=1e-3, atol=1e-5)  # after D's move
    largest = max(its.abs().max().item() for _, its, _, _ in _states(ours.optimizer_d, reference.adam_d))
    for mean, its_mean, _, _ in _states(ours.optimizer_d, reference.adam_d):  # after one step: half the gradient
        # the biases before a BatchNorm have no gradient but rounding, so the bound is the whole net's
        torch.testing.assert_close(mean, its_mean, rtol=1e-2, atol=5e-3 * largest)


def _states(ours: Adam, reference: torch.optim.Optimizer) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Both sides' moments, weight by weight: mean and mean of squares, ours before the reference's."""
    kept = [reference.state[p] for p in reference.param_groups[0]["params"]]
    theirs = ([k["exp_avg"] for k in kept], [k["exp_avg_sq"] for k in kept])
    return list(zip(ours.means, theirs[0], ours.squares, theirs[1], strict=True))


def test_both_nets_stay_in_train_mode_and_trainable() -> None:
    ours, _ = _twins([])
    step(ours, torch.rand(4, 1, 32, 32))
    for net in (ours.generator, ours.discriminator):
        assert net.training
        assert all(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("size", [8, 16, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_nets_fit_every_size_and_the_classic_keys(size: int, channels: int) -> None:
    widths = {8: "[6]", 16: "[8, 6]", 64: "[12, 8, 8, 6]"}[size]
    r = recipe.load(
        "mnist32-classic",
        [f"data.size={size}", f"data.channels={channels}", f"generator.widths={widths}",
         f"discriminator.widths={widths}", "generator.nz=7"],
    )  # fmt: skip
    g, d = models.build(r)
    pictures = g(torch.randn(3, 7, 1, 1))
    assert pictures.shape == (3, channels, size, size)
    assert pictures.abs().max() <= 1
    assert d(pictures).shape == (3,)
    assert next(iter(g.state_dict())) == "model.0.weight"


def test_the_start_is_a_function_of_the_seed_alone() -> None:
    def weights(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(99 + seed)  # torch's own stream must not matter
        return models.build(recipe.load("mnist32-demo", [f"train.seed={seed}"]))[0].state_dict()

    one, again, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(one[k], again[k]) for k in one)
    assert not torch.equal(one["model.0.weight"], other["model.0.weight"])


def test_normal_initialization_has_its_moments() -> None:
    g, d = models.build(recipe.load("mnist32-classic"))
    for name, weight in [*g.state_dict().items(), *d.state_dict().items()]:
        if weight.ndim == 4:
            assert abs(weight.std().item() - 0.02) < 0.002, name
            assert abs(weight.mean().item()) < 0.002, name


def test_spectral_norm_bounds_every_layer() -> None:
    r = recipe.load("mnist32-demo", ["discriminator.widths=[8, 8, 8]"])
    _, d = models.build(r)
    for _ in range(30):  # the power iteration goes one step a call
        d(torch.rand(2, 1, 32, 32))
    convolutions = [m for m in d.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 4
    for layer in convolutions:
        largest = torch.linalg.svdvals(layer.weight.detach().flatten(1))[0].item()
        assert abs(largest - 1) < 0.02


@pytest.mark.parametrize("name", [name for name, _ in losses.LOSSES])
def test_a_losss_gradient_pulls_scores_the_right_way(name: str) -> None:
    loss = losses.by_name(name)
    generated, real = torch.zeros(5, requires_grad=True), torch.zeros(5, requires_grad=True)
    loss.discriminator(generated, real).backward()  # type: ignore[no-untyped-call]
    assert generated.grad is not None
    assert real.grad is not None
    assert (generated.grad > 0).all()
    assert (real.grad < 0).all()
    scores = torch.zeros(5, requires_grad=True)
    loss.generator(scores, torch.zeros(5)).backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert (scores.grad < 0).all()


def test_losses_have_their_textbook_values() -> None:
    generated, real = torch.tensor([-2.0, 0.5]), torch.tensor([3.0, 0.25])
    hinge, bce = losses.by_name("hinge"), losses.by_name("bce")
    assert hinge.discriminator(generated, real).item() == pytest.approx((0 + 1.5) / 2 + (0 + 0.75) / 2)
    assert hinge.generator(generated).item() == pytest.approx(0.75)
    want = (torch.log1p(generated.exp()).mean() + torch.log1p((-real).exp()).mean()) / 2
    assert bce.discriminator(generated, real).item() == pytest.approx(want.item(), rel=1e-5)
    assert bce.generator(generated).item() == pytest.approx(torch.log1p((-generated).exp()).mean().item(), rel=1e-5)


def test_the_average_follows_the_generator_and_its_batchnorm_is_measured_anew() -> None:
    now = snapshot.start(recipe.load("mnist32-demo", ["ema.decay=0.9", "ema.recalibrate=1024"]), CPU)
    assert now.average is not None
    before = [p.clone() for p in now.average.parameters()]
    now.step = 1000  # past the first steps' smaller decay
    step(now, torch.rand(8, 1, 32, 32) * 2 - 1)
    for old, net, average in zip(before, now.generator.parameters(), now.average.parameters(), strict=True):
        torch.testing.assert_close(average, 0.9 * old + 0.1 * net.detach(), rtol=1e-4, atol=1e-6)
    shown, again = snapshot.eval_generator(now), snapshot.eval_generator(now)
    assert not shown.training
    assert all(torch.equal(a, b) for a, b in zip(shown.buffers(), again.buffers(), strict=True))
    z = torch.randn(2048, 100, 1, 1)
    with torch.no_grad():
        in_eval = shown(z)
        in_train = shown.train()(z)
    assert (in_eval - in_train).abs().mean() < 0.02  # the statistics are those of the batch


@pytest.mark.parametrize("name", [name for name, _ in losses.LOSSES])
def test_a_nan_reaches_the_loss(name: str) -> None:
    loss = losses.by_name(name)
    bad, good = torch.tensor([0.0, float("nan")]), torch.zeros(2)
    assert loss.discriminator(bad, good).isnan()
    assert loss.discriminator(good, bad).isnan()
    assert loss.generator(bad, good).isnan()


def test_one_call_sees_generated_and_real_together(tmp_path: Path) -> None:
    """With BatchNorm the two differ, without it they don't: only the batch's statistics tell them apart."""
    for norm, equal in (("none", True), ("batch", False)):
        readings = []
        for one_call in ("true", "false"):
            torch.manual_seed(0)
            settings = [f"loss.one_call={one_call}", f"discriminator.norm={norm}", "discriminator.spectral=false"]
            now = snapshot.start(recipe.load("mnist32-demo", settings), CPU)
            readings.append(step(now, torch.rand(8, 1, 32, 32) * 2 - 1)[0].item())
        assert (abs(readings[0] - readings[1]) < 1e-5) == equal


@pytest.mark.parametrize("layer", [thin.FromOneChannel(1, 3, 4, 2, 1), thin.ToOneChannel(3, 1, 4, 2, 1)])
def test_a_convolution_of_one_channel_is_torchs_own(layer: nn.Conv3d | nn.ConvTranspose3d) -> None:
    """The same sums and the same gradients, by other calls."""
    own = nn.ConvTranspose3d if isinstance(layer, nn.ConvTranspose3d) else nn.Conv3d
    layer.double()
    x = torch.randn(2, layer.in_channels, 6, 6, 6, dtype=torch.float64, requires_grad=True)
    found = []
    for forward in (type(layer).forward, own.forward):
        y = forward(layer, x)
        found.append((y, *torch.autograd.grad(y.square().sum(), (x, layer.weight, layer.bias))))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)
