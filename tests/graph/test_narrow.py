"""A spec with fewer channels: what narrows, what keeps its width, and that it still generates such images."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from gan_export import checkpoint
from gan_export.errors import GanExportError
from gan_export.graph.layers import BatchNorm, Linear, Reshape
from gan_export.graph.narrow import narrowed
from gan_export.graph.spec import GeneratorSpec, infer_shapes
from gan_export.recognize import recognize
from gan_export.training.distill.network import Network, taps
from tests.originals import ORIGINALS, studiogan
from tests.recognize.test_studiogan import settled

BY_NAME = {o.name: o for o in ORIGINALS}


def spec_of(name: str) -> GeneratorSpec:
    model = BY_NAME[name].build(BY_NAME[name].width)
    return recognize({k: tuple(v.shape) for k, v in model.state_dict().items()}, BY_NAME[name].overrides).spec


def parameters(spec: GeneratorSpec) -> int:
    return sum(math.prod(shape) for shape in spec.parameters().values())


@pytest.mark.parametrize(
    "name", ["classic", "mimicry-48", "collections-residual", "gordic", "vegans-mnist", "cgan-mlp", "embedding-times"]
)
def test_half_the_channels_still_generate_such_images(name: str) -> None:
    teacher = spec_of(name)
    student = narrowed(teacher, 0.5)
    assert student.signature == teacher.signature
    assert parameters(teacher) > 2 * parameters(student)
    feeds = {k: torch.from_numpy(v) for k, v in teacher.signature.feeds(0, range(3)).items()}
    network = Network(student)
    values = network(feeds, (student.outputs[0], *taps(teacher)))
    shapes = infer_shapes(student)
    assert taps(teacher)
    assert all(tuple(values[n].shape) == (3, *shapes[n]) for n in values)
    values[student.outputs[0]].square().mean().backward()
    assert all(w.grad is not None for w in network.parameters())
    assert {k: v.shape for k, v in network.weights().items()} == student.parameters()


def test_a_linear_that_makes_an_image_keeps_whole_channels() -> None:
    teacher = spec_of("gordic")
    linear, grid = (next(la for la in narrowed(teacher, 0.3).layers if isinstance(la, k)) for k in (Linear, Reshape))
    assert isinstance(linear, Linear)
    assert isinstance(grid, Reshape)
    assert linear.out_features == math.prod(grid.shape)
    (before,) = [la.shape[0] for la in teacher.layers if isinstance(la, Reshape)]
    assert grid.shape[0] == round(0.3 * before)


def test_norms_that_a_label_scales_stay_as_wide_as_their_scales(tmp_path: Path) -> None:
    torch.save(settled(studiogan.StudioResnet(4, classes=7)).state_dict(), tmp_path / "G.pth")
    spec = checkpoint.read(tmp_path / "G.pth").spec
    student = narrowed(spec, 0.5)
    feeds = {k: torch.from_numpy(v) for k, v in spec.signature.feeds(0, range(3)).items()}
    assert Network(student).image(feeds).shape == Network(spec).image(feeds).shape
    widths = {la.name: la.channels for la in student.layers if isinstance(la, BatchNorm)}
    assert all(widths[la.name] * 2 == la.channels for la in spec.layers if isinstance(la, BatchNorm))


def test_a_layer_can_have_a_width_of_its_own() -> None:
    teacher = spec_of("classic")
    student = narrowed(teacher, 1.0, {"convt1": 5})
    changed = {k: s for k, s in student.parameters().items() if s != teacher.parameters()[k]}
    assert {k.partition(".")[0] for k in changed} == {"convt1", "bn1", "convt2"}
    assert changed["bn1.weight"] == (5,)
    assert narrowed(teacher, 1e-9).parameters()["bn0.weight"] == (1,)


@pytest.mark.parametrize(
    ("share", "widths", "words"),
    [
        (1.0, {}, "as wide as its teacher"),
        (0.5, {"convt1": 4096}, "a student has 1 to 256"),
        (0.5, {"convt9": 4}, "there are convt0, convt1, convt2, convt3"),
        (0.5, {"bn0": 4}, "no layer with weights is called bn0"),
        (0.5, {"convt3": 1}, "keeps its width"),
    ],
)
def test_what_is_no_student_is_refused(share: float, widths: dict[str, int], words: str) -> None:
    with pytest.raises(GanExportError, match=words):
        narrowed(spec_of("classic"), share, widths)


def test_a_label_that_is_joined_to_the_latent_keeps_its_width() -> None:
    spec = spec_of("embedding-after")
    student = narrowed(spec, 0.25)
    assert student.parameters()["embed.weight"] == spec.parameters()["embed.weight"]
    assert student.parameters()["convt0.weight"][0] == spec.parameters()["convt0.weight"][0]
    assert student.parameters()["convt0.weight"][1] * 4 == spec.parameters()["convt0.weight"][1]
