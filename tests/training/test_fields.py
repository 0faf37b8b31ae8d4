"""What each field of a recipe changes, seen from outside: gradients, weights, pictures, and resuming to the bit."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan_export import checkpoint, images
from gan_export.errors import GanExportError
from gan_export.recognize.options import ReadOptions
from gan_export.sampling.opening import open_generator
from gan_export.training import events, losses, models, recipe, snapshot, trainer
from gan_export.training.adam import Adam
from gan_export.training.augment import augmented, noise_at
from gan_export.training.step import step
from gan_export.training.step_scalar import StepScalar
from tests.conftest import latent_image
from tests.training.common import resume_here, same, tiny_recipe, train_here

CPU = torch.device("cpu")
SMALL = ("data.size=8", "generator.widths=[6]", "discriminator.widths=[5]", "generator.nz=4", "compute.threads=1")


class Weighted(nn.Module):
    """A discriminator whose score is a plain weighted sum, so that its slopes are its weights."""

    def __init__(self, pixels: int = 64) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.linspace(-0.5, 1.0, pixels, dtype=torch.float64))

    def forward(self, pictures: Tensor, labels: Tensor | None = None) -> Tensor:
        return (pictures.flatten(1) * self.w).sum(1)

    def judged(self, pictures: Tensor, labels: Tensor | None = None) -> Tensor:
        return self(pictures)[:, None]


@pytest.fixture
def double() -> object:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _gradient(*settings: str, at: int = 0) -> tuple[Tensor, Tensor]:
    """The weighted discriminator's weights before a step, and the gradient that the step moved them by."""
    wasserstein = ("loss.kind=wasserstein", "discriminator.spectral=true", "discriminator.norm=none")
    now = snapshot.start(recipe.load("mnist32-classic", [*SMALL, *wasserstein, *settings]), CPU)
    now.discriminator = Weighted()  # type: ignore[assignment]
    now.optimizer_d = Adam(now.discriminator.parameters(), StepScalar(1e-3), (0.5, 0.999))
    now.step = at
    before = now.discriminator.w.detach().clone()  # type: ignore[union-attr]
    step(now, torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1)
    return before, now.optimizer_d.means[0] * 2  # Adam's mean after one step is half the gradient


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", ["r1", "r2"])
def test_r1_and_r2_pull_by_gamma_times_the_slope(name: str) -> None:
    _, plain = _gradient()
    w, pulled = _gradient(f"loss.{name}=3")
    torch.testing.assert_close(pulled - plain, 3 * w)


@pytest.mark.usefixtures("double")
def test_the_gradient_penalty_pulls_the_slope_to_one() -> None:
    w, pulled = _gradient("loss.gradient_penalty=10")
    _, plain = _gradient()
    torch.testing.assert_close(pulled - plain, 20 * (w.norm() - 1) * w / w.norm())


@pytest.mark.usefixtures("double")
def test_penalties_come_every_so_many_steps_and_as_strong() -> None:
    _, plain = _gradient()
    w, first = _gradient("loss.r1=3", "loss.penalty_every=4")
    _, second = _gradient("loss.r1=3", "loss.penalty_every=4", at=1)
    torch.testing.assert_close(first - plain, 4 * 3 * w)
    torch.testing.assert_close(second, plain)


@pytest.mark.usefixtures("double")
def test_flipping_swaps_that_share_of_the_scores() -> None:
    """Each flipped pair's part of the gradient changes its sign: 1 - 2 x share of it is left."""
    _, plain = _gradient()
    _, flipped = _gradient("loss.flip=0.4")
    left = (flipped @ plain) / (plain @ plain)
    assert 0.05 < left < 0.4  # 0.2, over 64 pairs
    assert not torch.allclose(flipped, plain)


def test_the_new_losses_have_their_textbook_values() -> None:
    generated, real = torch.tensor([-2.0, 0.5]), torch.tensor([3.0, 0.25])
    wasserstein, pairs = losses.by_name("wasserstein"), losses.by_name("relativistic")
    assert wasserstein.discriminator(generated, real).item() == pytest.approx(-0.75 - 1.625)
    assert wasserstein.generator(generated).item() == pytest.approx(0.75)
    want = torch.log1p((generated - real).exp()).mean().item()
    assert pairs.discriminator(generated, real).item() == pytest.approx(want)
    assert pairs.generator(generated, real).item() == pytest.approx(torch.log1p((real - generated).exp()).mean().item())


@pytest.mark.parametrize(("kind", "times"), [("bce", 0.5), ("non-saturating", 1.0)])
def test_smoothing_is_cross_entropy_with_a_softer_target(kind: str, times: float) -> None:
    generated, real = torch.tensor([-2.0, 0.5]), torch.tensor([3.0, 0.25])
    smooth = losses.of(recipe.Loss(kind=kind, smooth=0.1))  # type: ignore[arg-type]
    ideal = nn.functional.binary_cross_entropy_with_logits
    want = ideal(generated, torch.zeros(2)) + ideal(real, torch.full((2,), 0.9))
    assert smooth.discriminator(generated, real).item() == pytest.approx(times * want.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["loss.kind=hinge", "loss.smooth=0.1"], "loss.smooth is for bce"),
        (["loss.flip=0.5"], "loss.flip"),
        (["loss.r1=-1"], "loss.r1"),
        (["loss.naming=1"], "set discriminator.names"),
        (["augment.cutout=1"], "augment.cutout"),
        (["augment.noise_until=0"], "augment.noise_until"),
        (["train.critic_steps=0"], "train.critic_steps"),
        (["optimizer.generator.weight_decay=-1"], "optimizer.generator.weight_decay"),
        (["data.source=cifar10", "output.metrics_every=10"], "there are no features for cifar10"),
        (["output.metrics_every=10", "output.metrics_pictures=10"], "output.metrics_pictures"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: list[str], words: str) -> None:
    with pytest.raises(GanExportError, match=words):
        recipe.load("mnist32-classic", settings)


def test_mixed_batches_hold_both_kinds() -> None:
    """Without BatchNorm nothing changes; with it, two mixed batches have other statistics than two pure ones."""
    for norm, equal in (("none", True), ("batch", False)):
        readings = []
        for mixed in ("true", "false"):
            widths = ["data.size=16", "generator.widths=[6, 6]", "discriminator.widths=[5, 5]"]
            settings = [f"loss.mixed={mixed}", f"discriminator.norm={norm}", *widths]
            now = snapshot.start(recipe.load("mnist32-classic", settings), CPU)
            real = torch.rand(32, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.8
            readings.append(step(now, real)[[0, 2, 3]])
        assert torch.allclose(*readings, atol=1e-5) == equal


def _noise() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def test_instance_noise_falls_to_none() -> None:
    pictures = torch.zeros(16, 1, 32, 32)
    settings = recipe.Augment(noise=0.4, noise_until=0.5)
    for progress, want in ((0.0, 0.4), (0.25, 0.2), (0.5, 0.0), (0.9, 0.0)):
        assert augmented(
            pictures, settings, StepScalar(noise_at(settings, progress)), _noise()
        ).std().item() == pytest.approx(want, rel=0.03)


def test_translation_moves_each_picture_whole_pixels() -> None:
    pictures = torch.full((64, 1, 32, 32), -1.0)
    pictures[:, :, 15, 15] = 1.0
    moved = augmented(pictures, recipe.Augment(translate=0.125), StepScalar(), _noise())
    at = moved.flatten(1).argmax(1)
    down, right = at // 32 - 15, at % 32 - 15
    assert (moved.sum((1, 2, 3)) == pictures.sum((1, 2, 3))).all()
    for shift in (down, right):
        assert set(shift.tolist()) == set(range(-4, 5))


def test_cutout_blanks_one_square_of_each_picture() -> None:
    blanked = augmented(torch.ones(64, 3, 32, 32), recipe.Augment(cutout=0.5), StepScalar(), _noise()) == 0
    count = blanked[:, 0].sum((1, 2))
    assert count.max() == 16 * 16
    assert count.min() >= 8 * 8  # the centre is on the picture
    assert (blanked == blanked[:, :1]).all()  # every channel alike
    assert len(set(count.tolist())) > 10


def test_color_changes_levels_but_no_shapes() -> None:
    pictures = torch.rand(8, 3, 16, 16) * 2 - 1
    changed = augmented(pictures, recipe.Augment(color=True), StepScalar(), _noise())
    assert not torch.allclose(changed, pictures, atol=0.05)
    before, after = pictures.mean(1).flatten(1), changed.mean(1).flatten(1)
    for a, b in zip(before, after, strict=True):
        assert torch.corrcoef(torch.stack((a, b)))[0, 1] > 0.999


def test_augmentation_lets_gradients_through_and_draws_nothing_when_off() -> None:
    pictures = torch.rand(4, 1, 16, 16, requires_grad=True)
    everything = recipe.Augment(noise=0.1, translate=0.125, cutout=0.25, color=True)
    augmented(pictures, everything, StepScalar(noise_at(everything, 0.0)), _noise()).sum().backward()  # type: ignore[no-untyped-call]
    assert pictures.grad is not None
    assert (pictures.grad != 0).any((1, 2, 3)).all()
    noise = _noise()
    assert augmented(pictures, recipe.Augment(), StepScalar(), noise) is pictures
    assert torch.equal(noise.get_state(), _noise().get_state())


def test_weight_decay_shrinks_weights_beside_the_gradient() -> None:
    weight = nn.Parameter(torch.full((3,), 2.0))
    adam = Adam([weight], StepScalar(0.1), (0.5, 0.999), decay=0.2)
    weight.grad = torch.zeros(3)
    adam.step()
    torch.testing.assert_close(weight.detach(), torch.full((3,), 2.0 * (1 - 0.1 * 0.2)))


def test_the_critic_moves_as_often_as_asked() -> None:
    now = snapshot.start(recipe.load("mnist32-classic", [*SMALL, "train.critic_steps=3", "train.batch=4"]), CPU)
    step(now, torch.rand(12, 1, 8, 8))
    assert now.optimizer_d.state()["steps"][0] == 3
    assert now.optimizer_g.state()["steps"][0] == 1
    step(now, torch.rand(5, 1, 8, 8))  # an epoch's last: two pieces that BatchNorm can take
    assert now.optimizer_d.state()["steps"][0] == 5


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """The session's pictures dealt into three folders."""
    folder = tmp_path_factory.mktemp("classes")
    for file, name in zip(sorted(pictures.iterdir()), itertools.cycle(("a", "b", "c")), strict=False):
        (folder / name).mkdir(exist_ok=True)
        shutil.copyfile(file, folder / name / file.name)
    return folder


def test_a_conditional_generator_is_read_from_its_file_alone(tmp_path: Path, classes: Path) -> None:
    """What gan-sample draws for a label from the checkpoint is what the trainer's own net draws."""
    file = tiny_recipe(tmp_path, classes)
    train_here(file, tmp_path / "run", "generator.classes=3", "generator.embedding=5", "train.epochs=1")
    path = tmp_path / "run" / "generator_1.pth"
    spec = checkpoint.read(path, ReadOptions()).spec
    assert (latent_image(spec).nz, latent_image(spec).classes, latent_image(spec).image) == (8, 3, (1, 32, 32))
    net = models.Generator(8, (12, 8, 8), 1, 3, 5)
    net.load_state_dict(torch.load(path, weights_only=True))
    net.eval()
    drawn = []
    with open_generator(path) as generator:
        for label in range(3):
            z = torch.from_numpy(_z(9, 8))
            with torch.no_grad():
                want = images.to_bytes(net(z[:, :, None, None], torch.full((9,), label)).numpy())
            got = generator.sample(9, labels=label)
            assert np.abs(got.astype(int) - want.astype(int)).max() <= 1
            drawn.append(got)
    assert not np.array_equal(drawn[0], drawn[1])


def _z(count: int, nz: int) -> np.ndarray:
    from gan_export import latents

    return latents.draw(0, 0, count, nz)


def test_the_discriminator_learns_to_name_and_the_generator_to_be_clear(tmp_path: Path, classes: Path) -> None:
    """With discriminator.names real pictures are soon named rightly; with loss.naming generated ones get surer."""
    unsure = []
    for naming in (0.0, 1.0):
        now = snapshot.start(
            recipe.load("mnist32-small", [
                "data.size=8", "generator.widths=[12]", "discriminator.widths=[12]", "generator.nz=4",
                "discriminator.names=2", f"loss.naming={naming}", "optimizer.generator.lr=5e-3", "train.seed=3",
                "output.metrics_every=0",
            ]), CPU)  # fmt: skip
        draw = torch.Generator().manual_seed(1)
        for _ in range(60):
            labels = torch.randint(0, 2, (32,), generator=draw)
            noise = torch.rand(32, 1, 8, 8, generator=draw) * 0.4
            real = (labels[:, None, None, None] * 1.2 - 0.8 + noise).clamp(-1, 1)
            step(now, real, labels)
        with torch.no_grad():
            named = now.discriminator.judged(real)[:, 1:]
            drawn = now.discriminator.judged(now.generator(torch.randn(256, 4, 1, 1, generator=draw)))[:, 1:]
        assert (named.argmax(1) == labels).float().mean() > 0.95
        unsure.append((1 - drawn.softmax(1)[:, :2].amax(1)).mean().item())
    assert unsure[1] < unsure[0]


def test_labels_that_are_not_there_or_too_many_are_said(tmp_path: Path, pictures: Path, classes: Path) -> None:
    for folder, words in ((pictures, "have no labels"), (classes, "has 3; set it to 3")):
        with pytest.raises(GanExportError, match=words):
            train_here(tiny_recipe(tmp_path, folder), tmp_path / "run", "generator.classes=2")
        with pytest.raises(GanExportError, match=words):
            train_here(tiny_recipe(tmp_path, folder), tmp_path / "run", "discriminator.names=2")
    assert not (tmp_path / "run").exists()


GROUPS = {
    "soft": ("loss.kind=non-saturating", "loss.smooth=0.1", "loss.flip=0.1", "loss.mixed=true", "loss.r1=1",
             "augment.noise=0.2", "loss.penalty_every=2"),
    "r3gan": ("loss.kind=relativistic", "loss.r1=1", "loss.r2=1", "augment.translate=0.125", "augment.cutout=0.3",
              "augment.color=true", "optimizer.generator.weight_decay=0.01", "optimizer.decay_from=0.2",
              "discriminator.names=3", "loss.naming=0.5"),
    "conditional wgan-gp": ("loss.kind=wasserstein", "loss.gradient_penalty=10", "train.critic_steps=2",
                            "generator.classes=3", "generator.embedding=4", "ema.decay=0.9", "ema.recalibrate=64",
                            "discriminator.spectral=true", "discriminator.norm=none"),
}  # fmt: skip


@pytest.mark.parametrize("group", GROUPS)
def test_every_field_resumes_to_the_bit(tmp_path: Path, classes: Path, group: str) -> None:
    """An observer that raises in the middle of the loop leaves a run's folder as a kill does."""

    class DiedError(Exception):
        pass

    def dies(event: events.Event) -> None:
        if isinstance(event, events.Stepped) and event.step == 5:
            raise DiedError

    file, settings = tiny_recipe(tmp_path, classes), ("output.snapshot_every=3", *GROUPS[group])
    train_here(file, tmp_path / "whole", *settings)
    with pytest.raises(DiedError):
        trainer.train(recipe.load(str(file), settings), tmp_path / "killed", trainer.Options(observe=dies))
    began = resume_here(tmp_path / "killed")[0]
    assert isinstance(began, events.Began)
    assert began.step == 3
    ends = []
    for run in (tmp_path / "whole", tmp_path / "killed"):
        ends.append(snapshot.read(sorted((run / "snapshots").glob("*.pt"))[-1]))
        del ends[-1]["seconds"], ends[-1]["log_bytes"]
    same(*ends)
    for name in ("generator_2.pth", "discriminator_2.pth"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
