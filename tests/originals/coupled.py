"""eriklindernoren/PyTorch-GAN's cogan: two images of one latent."""

from __future__ import annotations

from torch import Tensor, nn


class Coupled(nn.Module):
    """The last layers are each image's own."""

    def __init__(self, width: int, channels: int = 3, size: int = 32) -> None:
        super().__init__()
        w = 2 * width
        self.side = size // 4
        self.fc = nn.Sequential(nn.Linear(100, w * self.side**2))
        self.shared_conv = nn.Sequential(
            nn.BatchNorm2d(w), nn.Upsample(scale_factor=2), nn.Conv2d(w, w, 3, 1, 1), nn.BatchNorm2d(w, 0.8),
            nn.LeakyReLU(0.2), nn.Upsample(scale_factor=2),
        )  # fmt: skip
        self.G1, self.G2 = (
            nn.Sequential(
                nn.Conv2d(w, width, 3, 1, 1), nn.BatchNorm2d(width, 0.8), nn.LeakyReLU(0.2),
                nn.Conv2d(width, channels, 3, 1, 1), nn.Tanh(),
            )
            for _ in range(2)
        )  # fmt: skip

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x = self.shared_conv(self.fc(z).view(len(z), -1, self.side, self.side))
        return self.G1(x), self.G2(x)
