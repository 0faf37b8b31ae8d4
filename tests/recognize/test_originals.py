"""Every known layout, read from its keys and shapes alone, computes what its original computes."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from gan_export.errors import GanExportError, NotRecognizedError
from gan_export.graph.torch_module import build_module
from gan_export.recognize import Match, ReadOptions, recognize
from tests.conftest import latent_image
from tests.originals import ORIGINALS, Original

BOUND = 1e-5
COUNT = 2
names = [o.name for o in ORIGINALS]


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {k: tuple(v.shape) for k, v in model.state_dict().items()}


def interpreted(reading: Match, model: nn.Module) -> nn.Module:
    state = model.state_dict()
    weights = {p: np.ascontiguousarray(state[key].numpy()) for p, key in reading.keys.items()}
    return build_module(reading.spec, weights)


def difference(original: Original, model: nn.Module, reading: Match) -> float:
    z = original.latents(COUNT)
    ours = interpreted(reading, model)
    want = original.draw(model, z)
    with torch.no_grad():
        got = ours(z, original.labels(COUNT)) if original.classes else ours(z)
    assert got.shape == want.shape
    assert want.std() > 0.02, "a picture that says nothing"
    return float((got - want).abs().max())


@pytest.mark.parametrize("original", ORIGINALS, ids=names)
def test_reads_as_the_original_at_its_own_size(original: Original) -> None:
    model = original.model()
    reading = recognize(shapes_of(model), original.overrides)
    spec = reading.spec
    assert (latent_image(spec).nz, latent_image(spec).image, latent_image(spec).prior, latent_image(spec).classes) == (
        original.nz, original.image, original.prior, original.classes,
    )  # fmt: skip
    assert latent_image(spec).range == original.range
    assert sorted([*reading.keys.values(), *reading.ignored]) == sorted(model.state_dict())
    assert all("num_batches_tracked" in k for k in reading.ignored)
    scale = 1.0 if original.range else float(original.draw(model, original.latents(COUNT)).abs().max())
    assert difference(original, model, reading) <= BOUND * max(scale, 1.0)


@pytest.mark.parametrize("original", ORIGINALS, ids=names)
def test_reads_as_the_original_at_another_width_in_any_key_order(original: Original) -> None:
    model = original.model(original.other_width, seed=1)
    shapes = shapes_of(model)
    reading = recognize(shapes, original.overrides)
    for seed in range(3):
        keys = list(shapes)
        random.Random(seed).shuffle(keys)
        again = recognize({k: shapes[k] for k in keys}, original.overrides)
        assert (again.spec, again.keys) == (reading.spec, reading.keys)
    scale = 1.0 if original.range else float(original.draw(model, original.latents(COUNT)).abs().max())
    assert difference(original, model, reading) <= BOUND * max(scale, 1.0)


@pytest.mark.parametrize("original", ORIGINALS, ids=names)
def test_says_what_it_assumed(original: Original) -> None:
    reading = recognize(shapes_of(original.build(original.other_width)), original.overrides)
    flags = {a.option for a in reading.assumed}
    given = {f"{k}=" for k in ("output", "image_size", "label_order") if getattr(original.overrides, k)}
    has_norm = any("running_mean" in p for p in reading.spec.parameters())
    assert flags >= {"slope=", "output=", "prior="} - given
    assert ("bn_eps=" in flags) == has_norm
    assert not flags & given


@pytest.mark.parametrize("original", ORIGINALS, ids=names)
def test_needs_its_flag(original: Original) -> None:
    """Where a row says a flag, the file without it reads as something else, and the flag is among the alternatives."""
    flags = original.overrides
    if flags == ReadOptions():
        pytest.skip("recognised without a flag")
    reading = recognize(shapes_of(original.build(original.other_width)))
    assert reading.spec != recognize(shapes_of(original.build(original.other_width)), flags).spec
    if flags.output or flags.image_size:
        value = flags.output or flags.image_size
        assert any(a.option.endswith(f"={value}") for a in reading.alternatives)
    if flags.label_order:
        assert any(a.option == "label_order=" for a in reading.assumed)


critics = [o for o in ORIGINALS if o.critic is not None]


@pytest.mark.parametrize("original", critics, ids=[o.name for o in critics])
def test_refuses_the_discriminator_by_name(original: Original) -> None:
    assert original.critic is not None
    shapes = shapes_of(original.critic())
    for seed in range(3):
        keys = list(shapes)
        random.Random(seed).shuffle(keys)
        with pytest.raises(NotRecognizedError, match="discriminator"):
            recognize({k: shapes[k] for k in keys})
        with pytest.raises(NotRecognizedError):
            recognize({k: shapes[k] for k in keys}, ReadOptions(arch="chain"))


@pytest.mark.parametrize("original", ORIGINALS, ids=names)
def test_a_generator_that_lacks_one_array_is_no_other_generator(original: Original) -> None:
    """Of what is left when a key is gone, none may be read as a generator that draws other pictures silently."""
    shapes = shapes_of(original.build(original.other_width))
    keys = [k for k in shapes if not k.endswith("num_batches_tracked")]
    for gone in random.Random(0).sample(keys, min(6, len(keys))):
        try:
            reading = recognize({k: s for k, s in shapes.items() if k != gone}, original.overrides)
        except GanExportError:
            continue
        if any("generic" in note for note in reading.notes):  # which says that it is no known layout
            continue
        # A bias may be missing, as in the variants without; an embedding too, and then z is longer.
        assert gone.endswith("bias") or "emb" in gone, (gone, reading.spec)


def test_names_of_layers_are_plain() -> None:
    for original in ORIGINALS:
        spec = recognize(shapes_of(original.build(original.other_width)), original.overrides).spec
        assert all(la.name.isidentifier() for la in spec.layers)
        again = type(spec).from_json(spec.to_json())
        assert again == spec


def test_other_eps_slope_and_prior_are_honored() -> None:
    original = next(o for o in ORIGINALS if o.name == "classic")
    model = original.model(8)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.eps = 0.01
    for i, m in enumerate(model.model):
        if isinstance(m, nn.ReLU):
            model.model[i] = nn.LeakyReLU(0.3)
    flags = ReadOptions(bn_eps=0.01, slope=0.3, prior="uniform")
    reading = recognize(shapes_of(model), flags)
    assert latent_image(reading.spec).prior == "uniform"
    assert {a.option for a in reading.assumed} == {"output=", "image_size="}
    assert difference(replace(original, overrides=flags), model, reading) <= BOUND
