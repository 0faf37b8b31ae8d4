"""Small generators with the statistics of a short training: momentum 0.1, moving weights, a last batch of 2."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE, NZ = 16, 64


class Mlp(nn.Module):
    """Linears with a BatchNorm on some: `gan` of many collections."""

    def __init__(
        self, eps: float, slope: float, norms: tuple[bool, ...] = (False, True, True), end: nn.Module | None = None
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for (a, b), norm in zip(itertools.pairwise((NZ, 64, 96, 128)), norms, strict=True):
            layers += [nn.Linear(a, b), *([nn.BatchNorm1d(b, eps)] if norm else []), nn.LeakyReLU(slope)]
        self.model = nn.Sequential(*layers, nn.Linear(128, SIDE**2), end or nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.model(z).view(-1, 1, SIDE, SIDE)
        return out


class Ladder(nn.Module):
    """Transposed convolutions as pytorch/examples has them, narrow."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ConvTranspose2d(NZ, 24, 4, 1, 0)]
        for a, b in ((24, 16), (16, 1)):
            layers += [nn.BatchNorm2d(a), nn.LeakyReLU(slope), nn.ConvTranspose2d(a, b, 4, 2, 1)]
        self.main = nn.Sequential(*layers, nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.main(z[:, :, None, None])
        return out


class Projected(nn.Module):
    """A Linear, an activation behind it or none, and two transposed convolutions: one BatchNorm."""

    def __init__(self, activation: bool) -> None:
        super().__init__()
        self.fc = nn.Linear(NZ, 16 * 16)
        self.activation = activation
        self.net = nn.Sequential(
            nn.ConvTranspose2d(16, 12, 4, 2, 1), nn.BatchNorm2d(12), nn.ReLU(), nn.ConvTranspose2d(12, 1, 4, 2, 1),
            nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        features = self.fc(z).relu() if self.activation else self.fc(z)
        out: Tensor = self.net(features.view(-1, 16, 4, 4))
        return out


class Unlabeled(nn.Module):
    """PyTorch-GAN's sgan: a label embedding that forward never reads, under acgan's keys."""

    def __init__(self) -> None:
        super().__init__()
        self.label_emb = nn.Embedding(10, NZ)
        self.l1 = nn.Sequential(nn.Linear(NZ, 16 * 16))
        self.conv_blocks = nn.Sequential(
            nn.BatchNorm2d(16), nn.Upsample(scale_factor=2), nn.Conv2d(16, 16, 3, 1, 1), nn.BatchNorm2d(16, 0.8),
            nn.LeakyReLU(0.2), nn.Upsample(scale_factor=2), nn.Conv2d(16, 8, 3, 1, 1), nn.BatchNorm2d(8, 0.8),
            nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 3, 1, 1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.conv_blocks(self.l1(z).view(-1, 16, 4, 4))
        return out


def trained(build: Callable[[], nn.Module], steps: int = 80, uniform: bool = False) -> nn.Module:
    """Train a generator against a small critic of 8x8 means."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        generator = build()
        critic = nn.Sequential(
            nn.AvgPool2d(SIDE // 8), nn.Flatten(), nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1)
        )
        real = torch.tanh(2 * F.interpolate(torch.randn(512, 1, 4, 4), size=SIDE, mode="bilinear"))
        ours, theirs = (torch.optim.Adam(m.parameters(), 5e-4, (0.5, 0.999)) for m in (generator, critic))
        for step in range(steps):
            count = 2 if step == steps - 1 else 32
            z = torch.rand(count, NZ) * 2 - 1 if uniform else torch.randn(count, NZ)
            made = generator.train()(z)
            theirs.zero_grad()
            picked = real[torch.randint(0, len(real), (count,))]
            (F.softplus(-critic(picked)) + F.softplus(critic(made.detach()))).mean().backward()
            theirs.step()
            ours.zero_grad()
            F.softplus(-critic(made)).mean().backward()
            ours.step()
    return generator.eval()
