"""StudioGAN's residual generators, plain, conditional and with attention, compute what the originals do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import gan_export
from gan_export.graph.torch_module import build_module
from tests.conftest import latent_image
from tests.originals.studiogan import StudioResnet

KINDS: dict[str, dict[str, Any]] = {
    "resnet": {},
    "resnet-attention": {"attention": True},
    "resnet-classes": {"classes": 7},
    "big-resnet": {"classes": 7, "shared": 12, "attention": True},
}


def settled(model: StudioResnet) -> StudioResnet:
    """With the statistics, and the vectors of spectral norm, that some passes in training leave."""
    model.train()
    with torch.no_grad():
        for seed in range(4):
            draw = torch.Generator().manual_seed(seed)
            label = torch.arange(8) % max(model.classes, 1)
            model(torch.randn(8, model.nz, generator=draw), label)
    return model.eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [6, 4])
def test_the_images_are_the_originals(kind: str, width: int, tmp_path: Path) -> None:
    model = settled(StudioResnet(width, **KINDS[kind]))
    torch.save(model.state_dict(), tmp_path / "G.pth")
    checkpoint = gan_export.load(tmp_path / "G.pth")
    assert checkpoint.spec.arch == "studiogan_resnet"
    about = latent_image(checkpoint.spec)
    classes = KINDS[kind].get("classes", 0)
    assert (about.nz, about.classes, about.image) == (model.nz, classes, (3, 32, 32))
    z, label = torch.randn(2, model.nz), torch.tensor([0, 5])
    given = (z, label) if classes else (z,)
    with torch.no_grad():
        torch.testing.assert_close(
            build_module(checkpoint.spec, checkpoint.weights)(*given), model(*given), rtol=0, atol=1e-5
        )


def test_an_export_of_it_is_verified(tmp_path: Path) -> None:
    torch.save(settled(StudioResnet(2, classes=3, shared=5, attention=True)).state_dict(), tmp_path / "G.pth")
    assert gan_export.export(tmp_path / "G.pth", "onnx").path.exists()
