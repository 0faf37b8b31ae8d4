"""Generators that start with a Linear."""

from __future__ import annotations

import argparse
import itertools
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_export.recognize import ReadOptions
from tests.originals.common import Original, optimizer_state, unit_to_signed
from tests.originals.flat import collections_container


class CollectionsSngan(nn.Module):
    """pytorch-gan-collections' sngan and wgangp: BatchNorm on the projection, a Conv2d at the end."""

    def __init__(self, width: int) -> None:
        super().__init__()
        c = [width * 8, width * 4, width * 2, width]
        self.linear = nn.Linear(128, 16 * c[0])
        layers: list[nn.Module] = [nn.BatchNorm2d(c[0]), nn.ReLU()]
        for a, b in itertools.pairwise(c):
            layers += [nn.ConvTranspose2d(a, b, 4, 2, 1), nn.BatchNorm2d(b), nn.ReLU()]
        self.main = nn.Sequential(*layers, nn.Conv2d(width, 3, 3, 1, 1), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        x = self.linear(z)
        out: Tensor = self.main(x.view(len(x), -1, 4, 4))
        return out


class CollectionsCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(3, 16, 3, 1, 1), nn.LeakyReLU(0.1), nn.Conv2d(16, 32, 4, 2, 1), nn.LeakyReLU(0.1),
            nn.Conv2d(32, 32, 3, 1, 1), nn.LeakyReLU(0.1), nn.Conv2d(32, 64, 4, 2, 1), nn.LeakyReLU(0.1),
        )  # fmt: skip
        self.linear = nn.Linear(64 * 8 * 8, 1)


class Gordic(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        c = [width * 8, width * 4, width * 2, width]
        self.linear = nn.Linear(100, 16 * c[0])
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(c):
            layers += [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        x = self.linear(z)
        out: Tensor = self.net(x.view(len(x), -1, 4, 4))
        return out


def gordic_container(model: nn.Module) -> Any:
    return {"commit_hash": "0" * 40, "state_dict": model.state_dict(), "gan_type": "DCGAN"}


class Udacity(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.fc = nn.Linear(100, width * 4 * 4 * 4)
        self.t_conv1 = self.deconv(width * 4, width * 2)
        self.t_conv2 = self.deconv(width * 2, width)
        self.t_conv3 = self.deconv(width, 3, norm=False)

    @staticmethod
    def deconv(a: int, b: int, norm: bool = True) -> nn.Module:
        return nn.Sequential(nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), *([nn.BatchNorm2d(b)] if norm else []))

    def forward(self, z: Tensor) -> Tensor:
        x = self.fc(z).view(-1, self.width * 4, 4, 4)
        x = F.relu(self.t_conv2(F.relu(self.t_conv1(x))))
        return torch.tanh(self.t_conv3(x))


class UdacityCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1, bias=False))
        self.conv2 = nn.Sequential(nn.Conv2d(8, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16))
        self.conv3 = nn.Sequential(nn.Conv2d(16, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32))
        self.fc = nn.Linear(32 * 16, 1)


class StudioBlock(nn.Module):
    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.deconv0 = nn.ConvTranspose2d(a, b, 4, 2, 1)
        self.bn0 = nn.BatchNorm2d(b, eps=1e-4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn0(self.deconv0(x)))


class StudioGan(nn.Module):
    """deep_conv: blocks in a ModuleList of ModuleLists."""

    def __init__(self, width: int) -> None:
        super().__init__()
        c = [width * 8, width * 4, width * 2, width]
        self.linear0 = nn.Linear(128, 16 * c[0])
        self.blocks = nn.ModuleList([nn.ModuleList([StudioBlock(a, b)]) for a, b in itertools.pairwise(c)])
        self.conv4 = nn.Conv2d(width, 3, 3, 1, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.linear0(z)
        x = x.view(len(x), -1, 4, 4)
        for blocks in self.blocks:
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x)
        return torch.tanh(self.conv4(x))


class StudioCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()

        def block(a: int, b: int) -> nn.Module:
            parts = OrderedDict(conv0=nn.Conv2d(a, b, 3, 1, 1), conv1=nn.Conv2d(b, b, 4, 2, 1))
            return nn.Sequential(OrderedDict(**parts, bn0=nn.BatchNorm2d(b), bn1=nn.BatchNorm2d(b)))

        self.blocks = nn.ModuleList([nn.ModuleList([block(a, b)]) for a, b in ((3, 8), (8, 16), (16, 32))])
        self.conv = nn.Conv2d(32, 64, 3, 1, 1)
        self.linear1 = nn.Linear(64, 1)


def studiogan_container(model: nn.Module) -> Any:
    return {
        "seed": 7,
        "run_name": "CIFAR10-DCGAN-train",
        "step": 1000,
        "ada_p": None,
        "best_step": 1000,
        "state_dict": model.state_dict(),
        "optimizer": optimizer_state(model),
    }


class Znxlwm(nn.Module):
    """The generative-model collections' network, after InfoGAN's."""

    def __init__(self, width: int, size: int = 28, sigmoid: bool = False) -> None:
        super().__init__()
        self.side, self.wide = size // 4, width * 2
        flat = self.wide * self.side**2
        self.fc = nn.Sequential(
            nn.Linear(62, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, flat), nn.BatchNorm1d(flat), nn.ReLU()
        )
        self.deconv = nn.Sequential(
            nn.ConvTranspose2d(self.wide, width, 4, 2, 1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.ConvTranspose2d(width, 1, 4, 2, 1), nn.Sigmoid() if sigmoid else nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.deconv(self.fc(z).view(-1, self.wide, self.side, self.side))
        return out


class ZnxlwmCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1), nn.BatchNorm2d(32),
            nn.LeakyReLU(0.2),
        )  # fmt: skip
        self.fc = nn.Sequential(
            nn.Linear(32 * 49, 64), nn.BatchNorm1d(64), nn.LeakyReLU(0.2), nn.Linear(64, 1), nn.Sigmoid()
        )


class Caogang(nn.Module):
    """wgan-gp on MNIST: the modules are assigned in another order than they run; flat 784 out of a sigmoid."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.block1 = nn.Sequential(nn.ConvTranspose2d(4 * dim, 2 * dim, 5), nn.ReLU())
        self.block2 = nn.Sequential(nn.ConvTranspose2d(2 * dim, dim, 5), nn.ReLU())
        self.deconv_out = nn.ConvTranspose2d(dim, 1, 8, stride=2)
        self.preprocess = nn.Sequential(nn.Linear(128, 4 * 4 * 4 * dim), nn.ReLU())

    def forward(self, z: Tensor) -> Tensor:
        x = self.preprocess(z).view(-1, 4 * self.dim, 4, 4)
        x = self.block1(x)[:, :, :7, :7]
        return torch.sigmoid(self.deconv_out(self.block2(x))).view(-1, 784)


class CaogangCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(1, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2, 2)
        )
        self.output = nn.Linear(4 * 4 * 32, 1)


class ResizeConv(nn.Module):
    """eriklindernoren's dcgan."""

    def __init__(self, width: int, size: int = 32, channels: int = 1) -> None:
        super().__init__()
        wide = width * 2
        self.side, self.wide = size // 4, wide
        self.l1 = nn.Sequential(nn.Linear(100, wide * self.side**2))
        self.conv_blocks = nn.Sequential(
            nn.BatchNorm2d(wide), nn.Upsample(scale_factor=2),
            nn.Conv2d(wide, wide, 3, 1, 1), nn.BatchNorm2d(wide, 0.8), nn.LeakyReLU(0.2), nn.Upsample(scale_factor=2),
            nn.Conv2d(wide, width, 3, 1, 1), nn.BatchNorm2d(width, 0.8), nn.LeakyReLU(0.2),
            nn.Conv2d(width, channels, 3, 1, 1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.conv_blocks(self.l1(z).view(-1, self.wide, self.side, self.side))
        return out


class ResizeConvCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in ((1, 16), (16, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(a, b, 3, 2, 1), nn.LeakyReLU(0.2), nn.Dropout2d(0.25)]
            layers += [nn.BatchNorm2d(b, 0.8)] if a > 1 else []
        self.model = nn.Sequential(*layers)
        self.adv_layer = nn.Sequential(nn.Linear(128 * 4, 1), nn.Sigmoid())


class Lightning(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(100, width), nn.LeakyReLU(0.2)]
        for a, b in ((width, width * 2), (width * 2, width * 4), (width * 4, width * 8)):
            layers += [nn.Linear(a, b), nn.BatchNorm1d(b, 0.8), nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(*layers, nn.Linear(width * 8, 784), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.model(z)
        return out.view(-1, 1, 28, 28)


class LightningCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(784, 64), nn.LeakyReLU(0.2), nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1)
        )


def lightning_container(model: nn.Module) -> Any:
    critic = LightningCritic()
    return {
        "epoch": 4,
        "global_step": 500,
        "pytorch-lightning_version": "2.1.0",
        "state_dict": {
            **{f"generator.{k}": v for k, v in model.state_dict().items()},
            **{f"discriminator.{k}": v for k, v in critic.state_dict().items()},
        },
        "loops": {},
        "callbacks": {},
        "optimizer_states": [optimizer_state(model), optimizer_state(critic)],
        "lr_schedulers": [],
        "hyper_parameters": argparse.Namespace(latent_dim=100, lr=0.0002, b1=0.5, b2=0.999),
    }


ROWS: tuple[Original, ...] = (
    Original("collections-sngan", CollectionsSngan, 64, 10, 128, (3, 32, 32), latent="vector",
             container=collections_container, critic=CollectionsCritic, suffix=".pt"),
    Original("gordic", Gordic, 128, 10, 100, (3, 64, 64), latent="vector", container=gordic_container),
    Original("udacity", Udacity, 32, 10, 100, (3, 32, 32), latent="vector", prior="uniform", critic=UdacityCritic),
    Original("studiogan", StudioGan, 64, 10, 128, (3, 32, 32), latent="vector", container=studiogan_container,
             critic=StudioCritic),
    Original("znxlwm-collections", Znxlwm, 64, 10, 62, (1, 28, 28), latent="vector", prior="uniform",
             critic=ZnxlwmCritic, suffix=".pkl"),
    Original("znxlwm-collections-sigmoid", lambda w: Znxlwm(w, 32, sigmoid=True), 64, 10, 62, (1, 32, 32),
             latent="vector", prior="uniform", overrides=ReadOptions(output="sigmoid"), to_range=unit_to_signed,
             suffix=".pkl"),
    Original("caogang", Caogang, 64, 10, 128, (1, 28, 28), latent="vector", to_range=unit_to_signed,
             critic=CaogangCritic),
    Original("eriklindernoren", ResizeConv, 64, 10, 100, (1, 32, 32), latent="vector", critic=ResizeConvCritic),
    Original("lightning", Lightning, 128, 40, 100, (1, 28, 28), latent="vector", container=lightning_container,
             critic=LightningCritic, suffix=".ckpt"),
)  # fmt: skip
