"""A generator with ELU, which C and the engine don't have: its images, and what those formats say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import gan_export
from gan_export.errors import GanExportError
from gan_export.graph.torch_module import build_module
from tests.originals.common import Original
from tests.originals.popular import ELU_ROWS


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("original", ELU_ROWS, ids=lambda o: o.name)
def test_the_images_are_the_originals(original: Original, whole: bool, tmp_path: Path) -> None:
    model = original.model(original.other_width)
    path = tmp_path / "G.pth"
    torch.save(model if whole else model.state_dict(), path)
    checkpoint = gan_export.load(path)
    assert checkpoint.spec.arch == "torchgan_began"
    z = original.latents(2)
    with torch.no_grad():
        got = build_module(checkpoint.spec, checkpoint.weights)(z)
    torch.testing.assert_close(got, original.draw(model, z), rtol=0, atol=1e-5)
    assert any(a.value == "ELU" for a in checkpoint.reading.assumed) != whole


def test_it_is_exported_or_refused_by_the_layers_name(tmp_path: Path) -> None:
    original = ELU_ROWS[0]
    torch.save(original.model(original.other_width).state_dict(), tmp_path / "G.pth")
    assert gan_export.export(tmp_path / "G.pth", "onnx").path.exists()
    with pytest.raises(GanExportError, match="Elu"):
        gan_export.export(tmp_path / "G.pth", "native")


def test_a_slope_takes_its_place(tmp_path: Path) -> None:
    original = ELU_ROWS[1]
    torch.save(original.model(original.other_width).state_dict(), tmp_path / "G.pth")
    layers = gan_export.load(tmp_path / "G.pth", slope=0.2).spec.layers
    assert not any(type(la).__name__ == "Elu" for la in layers)
