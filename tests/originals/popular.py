"""Generators that many copy: those of PyTorch-GAN without a first BatchNorm, vegans', torchgan's BEGAN."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from gan_export.recognize import ReadOptions
from tests.originals.common import Original, View, unit_to_signed


def lsgan(width: int, size: int = 32) -> nn.Module:
    """eriklindernoren's lsgan and ebgan: an Upsample at 0 instead of a BatchNorm."""
    w, side = 2 * width, size // 4
    blocks = nn.Sequential(
        nn.Upsample(scale_factor=2), nn.Conv2d(w, w, 3, 1, 1), nn.BatchNorm2d(w, 0.8), nn.LeakyReLU(0.2),
        nn.Upsample(scale_factor=2), nn.Conv2d(w, width, 3, 1, 1), nn.BatchNorm2d(width, 0.8), nn.LeakyReLU(0.2),
        nn.Conv2d(width, 1, 3, 1, 1), nn.Tanh(),
    )  # fmt: skip
    return Steps(l1=nn.Sequential(nn.Linear(100, w * side**2)), view=View(w, side, side), conv_blocks=blocks)


class Steps(nn.Module):
    """Modules under names of their own, one after the other."""

    def __init__(self, **steps: nn.Module) -> None:
        super().__init__()
        for name, step in steps.items():
            self.add_module(name, step)

    def forward(self, x: Tensor) -> Tensor:
        for step in self.children():
            x = step(x)
        return x


def clustergan(width: int) -> nn.Module:
    w = 2 * width
    net = nn.Sequential(
        nn.Linear(40, 8 * w), nn.BatchNorm1d(8 * w), nn.LeakyReLU(0.2),
        nn.Linear(8 * w, 49 * w), nn.BatchNorm1d(49 * w), nn.LeakyReLU(0.2), View(w, 7, 7),
        nn.ConvTranspose2d(w, width, 4, 2, 1), nn.BatchNorm2d(width), nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(width, 1, 4, 2, 1), nn.Sigmoid(),
    )  # fmt: skip
    return Steps(model=net)


class WithCluster(nn.Module):
    """clustergan by its code, 30 values, and a label that becomes the cluster behind them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.model = clustergan(width).model

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        out: Tensor = self.model(torch.cat((z, nn.functional.one_hot(label, 10).to(z.dtype)), 1))
        return out


def began(width: int, size: int = 32, norm: bool = True) -> nn.Module:
    """torchgan's AutoEncodingGenerator, whose doubling blocks are one block that serves several times."""

    def unit(*convs: nn.Module) -> nn.Module:
        parts = [(c, *([nn.BatchNorm2d(width)] if norm else []), nn.ELU()) for c in convs]
        return nn.Sequential(*(m for part in parts for m in part))

    def conv() -> nn.Module:
        return nn.Conv2d(width, width, 3, 1, 1, bias=not norm)

    doubling = unit(nn.ConvTranspose2d(width, width, 3, 2, 1, 1, bias=not norm), conv())
    last = nn.Sequential(nn.Conv2d(width, 3, 3, 1, 1), nn.Tanh())
    blocks = nn.Sequential(unit(conv(), conv()), *[doubling] * (int(math.log2(size)) - 3), last)
    head = [nn.Linear(100, 64 * width), *([nn.BatchNorm1d(64 * width)] if norm else []), nn.ELU()]
    return Steps(fc=nn.Sequential(*head), view=View(width, 8, 8), model=blocks)


def vegans_mnist(width: int) -> nn.Module:
    w = width
    encoding = nn.Sequential(
        nn.Conv2d(1, w, 5, 2, 2), nn.BatchNorm2d(w), nn.LeakyReLU(0.2),
        nn.Conv2d(w, 2 * w, 5, 2, 2), nn.BatchNorm2d(2 * w), nn.LeakyReLU(0.2),
        nn.Conv2d(2 * w, 4 * w, 3, 1, 1), nn.BatchNorm2d(4 * w), nn.LeakyReLU(0.2),
    )  # fmt: skip
    decoding = nn.Sequential(
        nn.ConvTranspose2d(4 * w, 2 * w, 4, 2, 1), nn.BatchNorm2d(2 * w), nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(2 * w, w, 4, 2, 1), nn.BatchNorm2d(w), nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(w, w, 4, 2, 1), nn.BatchNorm2d(w), nn.LeakyReLU(0.2), nn.ConvTranspose2d(w, 1, 3, 1, 1),
    )  # fmt: skip
    prepare = nn.Sequential(nn.Linear(64, 256), View(1, 16, 16))
    return Steps(prepare=prepare, encoding=encoding, decoding=decoding, output=nn.Sigmoid())


def vegans_example(width: int) -> nn.Module:
    """Its BatchNorms stand behind the activations."""
    w = [width * 2**i for i in range(4)]
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(64, w[0]), nn.LeakyReLU(0.2)]
    for a, b in itertools.pairwise(w):
        layers += [nn.Linear(a, b), nn.LeakyReLU(0.2), nn.BatchNorm1d(b)]
    return Steps(hidden_part=nn.Sequential(*layers, nn.Linear(w[-1], 784), View(1, 28, 28)), output=nn.Sigmoid())


ROWS: tuple[Original, ...] = (
    Original("lsgan", lsgan, 64, 10, 100, (1, 32, 32), latent="vector"),
    Original("clustergan", clustergan, 64, 10, 40, (1, 28, 28), latent="vector", to_range=unit_to_signed),
    Original("clustergan-labels", WithCluster, 64, 10, 30, (1, 28, 28), latent="vector", to_range=unit_to_signed,
             classes=10, overrides=ReadOptions(classes=10)),
    Original("vegans-mnist", vegans_mnist, 32, 10, 64, (1, 32, 32), latent="vector", to_range=unit_to_signed),
    Original("vegans-example", vegans_example, 128, 20, 64, (1, 28, 28), latent="vector", to_range=unit_to_signed),
)  # fmt: skip

# Of a layer that not all formats have.
ELU_ROWS: tuple[Original, ...] = (
    Original("torchgan-began", began, 64, 10, 100, (3, 32, 32), latent="vector"),
    Original("torchgan-began-nobn", lambda w: began(w, 64, norm=False), 64, 10, 100, (3, 64, 64), latent="vector"),
)  # fmt: skip
