"""Steps recorded as CUDA graphs, and the numbers on the device that they read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gan_export.training import recipe, snapshot, trainer
from gan_export.training.step import step
from gan_export.training.step_scalar import StepScalar
from tests.training.common import same

CPU = torch.device("cpu")

TINY = ("generator.nz=12", "generator.widths=[12,8,8]", "discriminator.widths=[8,8,12]", "train.init=normal",
        "output.snapshot_every=7", "output.log_every=5", "output.save_every=1")  # fmt: skip

SETTINGS = {
    "bce": (),
    "naming": ("loss.kind=hinge", "loss.one_call=true", "discriminator.names=10", "loss.naming=1", "loss.cells=true",
               "discriminator.norm=none", "discriminator.spectral=true"),
    "conditional": ("generator.classes=10",),
    "penalties": ("loss.kind=relativistic", "loss.r1=1", "loss.r2=1", "loss.penalty_every=3",
                  "discriminator.norm=none"),
    "critic": ("loss.kind=wasserstein", "loss.gradient_penalty=10", "train.critic_steps=2", "discriminator.norm=none"),
    "flip": ("loss.kind=bce", "loss.flip=0.1", "loss.smooth=0.1"),
    "augment": ("augment.noise=0.2", "augment.noise_until=0.5", "augment.translate=0.125", "augment.cutout=0.25",
                "augment.color=true"),
    "decay": ("optimizer.decay_from=0.2", "optimizer.discriminator.weight_decay=0.01", "ema.decay=0.99"),
    "bf16": ("compute.autocast=bf16", "ema.decay=0.99"),
    "full precision": ("compute.tf32=false",),
}  # fmt: skip


@pytest.mark.parametrize("name", ["augment", "decay"])
def test_a_step_that_reads_its_numbers_from_memory_is_the_same_step(name: str) -> None:
    r = recipe.load("mnist32-demo", [*TINY, *SETTINGS[name]])
    plain, held = snapshot.start(r, CPU), snapshot.start(r, CPU)
    held.follow, held.spread = StepScalar(device=CPU), StepScalar(device=CPU)
    for adam in (held.optimizer_g, held.optimizer_d):
        adam.rate = StepScalar(adam.rate.value, CPU)
    for now in (plain, held):
        for i in range(6):
            now.step, now.progress = i, i / 6
            for adam in (now.optimizer_g, now.optimizer_d):
                adam.rate.set(2e-4 * (1 - now.progress))
            torch.manual_seed(i)
            step(now, torch.rand(8, 1, 32, 32) * 2 - 1, torch.arange(8) % 10)
    for one, other in zip(plain.generator.state_dict().values(), held.generator.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    if plain.average is not None and held.average is not None:
        for one, other in zip(plain.average.parameters(), held.average.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_dial_keeps_its_number_in_memory_for_who_recorded_it() -> None:
    dial = StepScalar(0.5, CPU)
    recorded = dial.read
    dial.set(0.25)
    assert isinstance(recorded, torch.Tensor)
    assert (recorded.item(), dial.value) == (0.25, 0.25)
    assert StepScalar(0.5).read == 0.5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", SETTINGS)
def test_recorded_steps_on_cuda_give_the_bits_of_unrecorded_ones(tmp_path: Path, name: str) -> None:
    """Epochs of 10,000 pictures, each with a smaller last batch."""
    ends = []
    for graphs in ("false", "true"):
        run = tmp_path / graphs
        r = recipe.load(
            "mnist32-demo",
            [
                *TINY,
                "compute.device=cuda",
                f"compute.graphs={graphs}",
                "train.batch=600",
                "train.epochs=6",
                *SETTINGS[name],
            ],
        )
        trainer.train(r, run, trainer.Options())
        ends.append(torch.load(run / "generator_6.pth", weights_only=True))
    same(*ends)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_recorded_run_on_cuda_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    r = recipe.load(
        "mnist32-demo", [*TINY, "train.epochs=2", "compute.device=cuda", "train.batch=600", "ema.decay=0.99"]
    )
    trainer.train(r, tmp_path / "whole", trainer.Options())
    left = iter(range(11))
    trainer.train(r, tmp_path / "cut", trainer.Options(should_stop=lambda: next(left) == 10))
    trainer.resume(tmp_path / "cut", [], trainer.Options())
    names = ("whole", "cut")
    same(*(torch.load(tmp_path / n / "generator_2.pth", weights_only=True) for n in names))
