"""An autoencoder that is saved whole: its decoder is read with the layers around it, or refused without them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gan_export
from gan_export.errors import NotRecognizedError
from gan_export.graph.torch_module import build_module

CODE = 12


class Autoencoder(nn.Module):
    """A convolutional VAE as most collections have it: the first Linear of the decoder is no part of `decoder`."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 4, 2, 1))
        self.fc_mu, self.fc_var = nn.Linear(16 * 16, CODE), nn.Linear(16 * 16, CODE)
        self.decoder_input = nn.Linear(CODE, 16 * 16)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1),
            nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.decoder(self.decoder_input(z).view(-1, 16, 4, 4))
        return out


@pytest.mark.parametrize("owner", ["", "model."])
def test_the_decoder_takes_its_first_linear_along(owner: str, tmp_path: Path) -> None:
    model = Autoencoder().eval()
    torch.save({"state_dict": {f"{owner}{k}": v for k, v in model.state_dict().items()}, "epoch": 3}, tmp_path / "v.pt")
    read = gan_export.load(tmp_path / "v.pt")
    z = torch.randn(2, CODE)
    with torch.no_grad():
        torch.testing.assert_close(build_module(read.spec, read.weights)(z), model(z), rtol=0, atol=1e-5)


def test_the_decoder_alone_is_no_generator(tmp_path: Path) -> None:
    """Its transposed convolution has the shapes of one that takes z as one pixel."""
    torch.save(Autoencoder().state_dict(), tmp_path / "v.pt")
    with pytest.raises(NotRecognizedError, match=r"decoder_input beside it gives 256 = 16 x 4 x 4 features"):
        gan_export.load(tmp_path / "v.pt", key="decoder")
