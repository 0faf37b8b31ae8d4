"""A spec with fewer layers: what vanishes with a layer, and what can't be left out."""

from __future__ import annotations

import pytest
import torch

from gan_export.errors import GanExportError
from gan_export.graph.layers import Linear
from gan_export.graph.narrow import narrowed
from gan_export.graph.shallow import without
from gan_export.training.distill.network import Network
from tests.graph.test_narrow import spec_of


def names(name: str, *omitted: str) -> set[str]:
    return {la.name for la in spec_of(name).layers} - {la.name for la in without(spec_of(name), omitted).layers}


def test_a_residual_block_becomes_its_shortcut() -> None:
    spec = spec_of("mimicry-48")
    branch = {f"block3_{x}" for x in ("bn1", "relu1", "up", "conv1", "bn2", "relu2", "conv2", "sum")}
    assert names("mimicry-48", "block3_sum") == branch
    student = narrowed(without(spec, ["block3_sum"]), 0.5)
    assert student.signature == spec.signature
    feeds = {k: torch.from_numpy(v) for k, v in spec.signature.feeds(0, range(3)).items()}
    assert Network(student).image(feeds).shape == Network(spec).image(feeds).shape


def test_a_layer_takes_its_norm_and_activation_along_and_the_next_one_is_fitted() -> None:
    assert names("cgan-mlp", "fc2", "fc1") == {"fc1", "bn1", "leaky1", "fc2", "bn2", "leaky2"}
    spec = without(spec_of("cgan-mlp"), ["fc1", "fc2"])
    widths = {la.name: (la.in_features, la.out_features) for la in spec.layers if isinstance(la, Linear)}
    assert widths["fc3"][0] == widths["fc0"][1]
    assert without(spec, []) is spec


@pytest.mark.parametrize(
    ("name", "omitted", "message"),
    [
        ("classic", "convt1", r"the images are 1x16x16, not 1x32x32"),
        ("classic", "bn1", r"without=bn1: must be one of convt0, convt1, convt2, convt3"),
        ("classic", "nothing", "without=nothing: must be one of"),
        ("cgan-mlp", "fc4", r"layer grid fits no more"),
    ],
)
def test_what_cannot_be_left_out(name: str, omitted: str, message: str) -> None:
    with pytest.raises(GanExportError, match=message):
        without(spec_of(name), [omitted])
