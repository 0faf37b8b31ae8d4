"""Generators of volumes and signals, read from keys and shapes alone, compute what their originals compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from gan_export.errors import GanExportError, NotRecognizedError
from gan_export.recognize import ReadOptions, recognize
from tests.originals.volumes import CRITICS, ROWS, Layers
from tests.recognize.test_originals import interpreted, shapes_of

SMALL = [o for o in ROWS if o.width < 64]


@pytest.mark.parametrize("original", SMALL, ids=lambda o: o.name)
@pytest.mark.parametrize("width", ["own", "other"])
def test_it_computes_what_the_original_computes(original, width):
    model = original.model(original.width if width == "own" else original.other_width)
    reading = recognize(shapes_of(model), original.overrides)
    port = reading.spec.signature.outputs[0]
    assert port.kind == ("volume" if len(original.image) == 4 else "audio")
    assert (port.shape, port.range) == (original.image, original.range)
    unused = {"bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"}
    assert all("num_batches_tracked" in k or k in unused for k in reading.ignored)
    z = original.latents(2)
    with torch.no_grad():
        got, wanted = interpreted(reading, model)(z), model(z)
    assert wanted.std() > 0.02
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [32, 64])
def test_one_set_of_keys_is_read_at_both_sides(side):
    """The width before the last layer says which is usual; --image-size says which it is."""
    shapes = shapes_of(Layers(64, side, bias=False))
    usual = recognize(shapes)
    assert usual.spec.signature.outputs[0].shape == (1, 64, 64, 64)
    assert [a.option for a in usual.alternatives if "32x32x32 volumes" in a.title] == ["image_size=32"]
    stated = recognize(shapes, ReadOptions(image_size=side))
    assert stated.spec.signature.outputs[0].shape == (1, side, side, side)
    with pytest.raises(GanExportError, match="give 64 or 32"):
        recognize(shapes, ReadOptions(image_size=48))


@pytest.mark.parametrize("what", sorted(CRITICS))
def test_a_discriminator_is_refused_as_one(what):
    with pytest.raises(NotRecognizedError, match="a discriminator"):
        recognize(shapes_of(CRITICS[what]()))


def test_one_file_of_two_numbers_of_dimensions_is_refused():
    net = nn.Sequential(
        nn.ConvTranspose2d(12, 8, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose3d(8, 1, 4, 2, 1), nn.Tanh()
    )
    with pytest.raises(NotRecognizedError, match="takes"):
        recognize(shapes_of(net))


def test_a_volume_in_a_sigmoid_keeps_its_range_with_and_without_raw():
    shapes = shapes_of(Layers(2, 32, bias=False))
    for raw in (False, True):
        spec = recognize(shapes, ReadOptions(raw=raw)).spec
        assert spec.signature.outputs[0].range == (0.0, 1.0)
        assert type(spec.layers[-1]).__name__ == "Activation"
    assert np.prod(spec.signature.outputs[0].shape) == 32**3
