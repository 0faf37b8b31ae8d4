"""Residual generators."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_export.recognize import ReadOptions
from tests.originals.common import Original, optimizer_state, unit_to_signed
from tests.originals.flat import collections_container


class GBlock(nn.Module):
    """mimicry's: bilinear, at half-pixel centres, on both ways."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(a, b, 3, 1, 1)
        self.c2 = nn.Conv2d(b, b, 3, 1, 1)
        self.b1 = nn.BatchNorm2d(a)
        self.b2 = nn.BatchNorm2d(b)
        self.c_sc = nn.Conv2d(a, b, 1, 1, 0)

    @staticmethod
    def larger(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.c1(self.larger(torch.relu(self.b1(x))))
        h = self.c2(torch.relu(self.b2(h)))
        out: Tensor = h + self.c_sc(self.larger(x))
        return out


class Mimicry(nn.Module):
    def __init__(self, channels: list[int], bottom: int = 4, last: Literal["tanh", "sigmoid"] = "tanh") -> None:
        super().__init__()
        self.bottom, self.last = bottom, last
        self.l1 = nn.Linear(128, bottom**2 * channels[0])
        self.ends = len(channels) + 1
        for i, (a, b) in enumerate(itertools.pairwise(channels), 2):
            self.add_module(f"block{i}", GBlock(a, b))
        self.add_module(f"b{self.ends}", nn.BatchNorm2d(channels[-1]))
        self.add_module(f"c{self.ends}", nn.Conv2d(channels[-1], 3, 3, 1, 1))

    def forward(self, z: Tensor) -> Tensor:
        x = self.l1(z).view(len(z), -1, self.bottom, self.bottom)
        for i in range(2, self.ends):
            x = getattr(self, f"block{i}")(x)
        x = getattr(self, f"c{self.ends}")(torch.relu(getattr(self, f"b{self.ends}")(x)))
        return torch.tanh(x) if self.last == "tanh" else torch.sigmoid(x)


class MimicryCritic(nn.Module):
    """DBlocks: no BatchNorm, a pooled shortcut; one number from a Linear."""

    def __init__(self) -> None:
        super().__init__()

        def block(a: int, b: int) -> nn.Module:
            m = nn.Module()
            m.c1, m.c2, m.c_sc = nn.Conv2d(a, b, 3, 1, 1), nn.Conv2d(b, b, 3, 1, 1), nn.Conv2d(a, b, 1)
            return m

        self.block1 = block(3, 16)
        for i in range(2, 5):
            self.add_module(f"block{i}", block(16, 16))
        self.l5 = nn.Linear(16, 1)


def mimicry_container(model: nn.Module) -> Any:
    return {
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer_state(model),
        "global_step": 100000,
    }


class NearestBlock(nn.Module):
    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(a), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(a, b, 3, 1, 1), nn.BatchNorm2d(b),
            nn.ReLU(), nn.Conv2d(b, b, 3, 1, 1),
        )  # fmt: skip
        self.shortcut = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(a, b, 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.residual(x) + self.shortcut(x)
        return out


class CollectionsResidual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.linear = nn.Linear(128, 16 * width)
        self.blocks = nn.Sequential(*(NearestBlock(width, width) for _ in range(3)))
        self.output = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 3, 3, 1, 1), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.output(self.blocks(self.linear(z).view(-1, self.width, 4, 4)))
        return out


ROWS: tuple[Original, ...] = (
    Original("mimicry-32", lambda w: Mimicry([w] * 4), 256, 12, 128, (3, 32, 32), latent="vector",
             container=mimicry_container, critic=MimicryCritic),
    Original("mimicry-48", lambda w: Mimicry([w * 8, w * 4, w * 2, w], 6), 16, 4, 128, (3, 48, 48), latent="vector",
             container=mimicry_container),
    Original("mimicry-64", lambda w: Mimicry([w * 16, w * 8, w * 4, w * 2, w]), 8, 4, 128, (3, 64, 64),
             latent="vector", container=mimicry_container),
    Original("mimicry-128", lambda w: Mimicry([w * 16, w * 16, w * 8, w * 4, w * 2, w]), 4, 2, 128, (3, 128, 128),
             latent="vector", container=mimicry_container),
    Original("mimicry-cifar", lambda w: Mimicry([w] * 4, last="sigmoid"), 256, 12, 128, (3, 32, 32), latent="vector",
             container=mimicry_container, overrides=ReadOptions(output="sigmoid"), to_range=unit_to_signed),
    Original("collections-residual", CollectionsResidual, 256, 12, 128, (3, 32, 32), latent="vector",
             container=collections_container, suffix=".pt"),
)  # fmt: skip
