"""The classic DCGAN on MNIST in one page: the reference that `gan-train mnist32-classic` is tested against.

    python train/classic.py DATA_ROOT [EPOCHS]

Only plain torch; the trainer computes the same updates and omits results that are not used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader
from torchvision import datasets, transforms
from torchvision.utils import save_image

NZ, BATCH, LR, BETAS = 100, 128, 2e-4, (0.5, 0.999)


class Generator(nn.Module):
    """A generator: z (N, 100, 1, 1) -> images (N, 1, 32, 32) in [-1, 1]."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        w = width
        self.model = nn.Sequential(
            nn.ConvTranspose2d(NZ, 4 * w, 4, 1, 0), nn.BatchNorm2d(4 * w), nn.ReLU(),
            nn.ConvTranspose2d(4 * w, 2 * w, 4, 2, 1), nn.BatchNorm2d(2 * w), nn.ReLU(),
            nn.ConvTranspose2d(2 * w, w, 4, 2, 1), nn.BatchNorm2d(w), nn.ReLU(),
            nn.ConvTranspose2d(w, 1, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        return self.model(z)


class Discriminator(nn.Module):
    """A discriminator: images (N, 1, 32, 32) -> the probability that they are real (N, 1, 1, 1)."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        w = width
        self.model = nn.Sequential(
            nn.Conv2d(1, w, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(w, 2 * w, 4, 2, 1), nn.BatchNorm2d(2 * w), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * w, 4 * w, 4, 2, 1), nn.BatchNorm2d(4 * w), nn.LeakyReLU(0.2),
            nn.Conv2d(4 * w, 1, 4, 1, 0), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, pictures: Tensor) -> Tensor:
        return self.model(pictures)


def normal_init(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)
        nn.init.zeros_(layer.bias)


class Players:
    """Both networks and their optimizers."""

    def __init__(self, width: int = 128) -> None:
        self.g, self.d = Generator(width), Discriminator(width)
        self.adam_g = optim.Adam(self.g.parameters(), lr=LR, betas=BETAS)
        self.adam_d = optim.Adam(self.d.parameters(), lr=LR, betas=BETAS)


def step(p: Players, real: Tensor, draw: Callable[[int], Tensor]) -> tuple[Tensor, Tensor]:
    """Make one step of the classic loop; `draw(n)` returns z (n, 100, 1, 1).  Returns both losses."""
    bce = nn.BCELoss()
    generated = p.d(p.g(draw(len(real))))
    loss_generated = bce(generated, torch.zeros_like(generated))
    scored = p.d(real)
    loss_real = bce(scored, torch.ones_like(scored))
    loss_d = (loss_generated + loss_real) / 2
    p.adam_d.zero_grad()
    loss_d.backward()
    p.adam_d.step()

    generated = p.d(p.g(draw(len(real))))
    loss_g = bce(generated, torch.ones_like(generated))
    p.adam_g.zero_grad()
    loss_g.backward()
    p.adam_g.step()
    return loss_d, loss_g


def loader(root: str) -> DataLoader:
    look = transforms.Compose([transforms.Resize(32), transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])
    return DataLoader(datasets.MNIST(root, train=True, transform=look), BATCH, shuffle=True)


def main(root: str, epochs: int = 20) -> None:
    players, batches = Players(), loader(root)
    for net in (players.g, players.d):
        net.apply(normal_init)
    fixed = torch.randn(64, NZ, 1, 1)
    for epoch in range(1, epochs + 1):
        for real, _ in batches:
            loss_d, loss_g = step(players, real, lambda n: torch.randn(n, NZ, 1, 1))
        print(f"epoch {epoch}: loss_d {loss_d.item():.4f} loss_g {loss_g.item():.4f}")
        if epoch % 10 == 0 or epoch == epochs:
            torch.save(players.g.state_dict(), f"generator_{epoch}.pth")
            torch.save(players.d.state_dict(), f"discriminator_{epoch}.pth")
            with torch.no_grad():
                save_image(players.g.eval()(fixed), f"grid_{epoch}.png", nrow=8, normalize=True, value_range=(-1, 1))
            players.g.train()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
