"""Generators with attributes or blocks instead of one flat Sequential."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gan_export.recognize import ReadOptions
from tests.originals.common import Named, Original, optimizer_state
from tests.originals.flat import Viewed, descent, examples_critic
from tests.originals.pickled import BaseConfig, HingeLoss


class Numbered(nn.Module):
    """Natsu6767's: tconvN and bnN."""

    def __init__(self, width: int) -> None:
        super().__init__()
        c = [100, width * 8, width * 4, width * 2, width]
        for i in range(1, 5):
            self.add_module(f"tconv{i}", nn.ConvTranspose2d(c[i - 1], c[i], 4, min(i, 2), int(i > 1), bias=False))
            self.add_module(f"bn{i}", nn.BatchNorm2d(c[i]))
        self.tconv5 = nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(1, 5):
            x = torch.relu(getattr(self, f"bn{i}")(getattr(self, f"tconv{i}")(x)))
        return torch.tanh(self.tconv5(x))


class NumberedBn(nn.Module):
    """znxlwm's MNIST-CelebA: deconvN and deconvN_bn."""

    def __init__(self, d: int) -> None:
        super().__init__()
        c = [100, d * 8, d * 4, d * 2, d]
        for i in range(1, 5):
            self.add_module(f"deconv{i}", nn.ConvTranspose2d(c[i - 1], c[i], 4, 1 if i == 1 else 2, 0 if i == 1 else 1))
            self.add_module(f"deconv{i}_bn", nn.BatchNorm2d(c[i]))
        self.deconv5 = nn.ConvTranspose2d(d, 1, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(1, 5):
            x = torch.relu(getattr(self, f"deconv{i}_bn")(getattr(self, f"deconv{i}")(x)))
        return torch.tanh(self.deconv5(x))


class NumberedCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        c = [1, 16, 32, 64, 128]
        for i in range(1, 5):
            self.add_module(f"conv{i}", nn.Conv2d(c[i - 1], c[i], 4, 2, 1))
            if i > 1:
                self.add_module(f"conv{i}_bn", nn.BatchNorm2d(c[i]))
        self.conv5 = nn.Conv2d(128, 1, 4, 1, 0)


def wasserstein(isize: int, ngf: int, extra: int = 0, norm: bool = True, dots: bool = False) -> nn.Module:
    """martinarjovsky's DCGAN_G: named by place and channels."""
    nz, nc = 100, 3
    c = ngf * isize // 8
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers[f"initial:{nz}-{c}:convt"] = nn.ConvTranspose2d(nz, c, 4, 1, 0, bias=False)
    if norm:
        layers[f"initial:{c}:batchnorm"] = nn.BatchNorm2d(c)
    layers[f"initial:{c}:relu"] = nn.ReLU()
    size = 4
    while size < isize // 2:
        layers[f"pyramid:{c}-{c // 2}:convt"] = nn.ConvTranspose2d(c, c // 2, 4, 2, 1, bias=False)
        if norm:
            layers[f"pyramid:{c // 2}:batchnorm"] = nn.BatchNorm2d(c // 2)
        layers[f"pyramid:{c // 2}:relu"] = nn.ReLU()
        c, size = c // 2, size * 2
    for t in range(extra):
        layers[f"extra-layers-{t}:{c}:conv"] = nn.Conv2d(c, c, 3, 1, 1, bias=False)
        if norm:
            layers[f"extra-layers-{t}:{c}:batchnorm"] = nn.BatchNorm2d(c)
        layers[f"extra-layers-{t}:{c}:relu"] = nn.ReLU()
    layers[f"final:{c}-{nc}:convt"] = nn.ConvTranspose2d(c, nc, 4, 2, 1, bias=False)
    layers[f"final:{nc}:tanh"] = nn.Tanh()
    return Named("main", nn.Sequential(layers))


def dotted(model: nn.Module) -> Any:
    """The keys as the oldest torch let them be written."""
    return {k.replace(":", "."): v for k, v in model.state_dict().items()}


def torchgan(width: int, size: int = 32, norm: bool = True) -> nn.Module:
    repeats = size.bit_length() - 4
    d = width * 2**repeats

    def block(a: int, b: int, stride: int, padding: int) -> nn.Module:
        conv = nn.ConvTranspose2d(a, b, 4, stride, padding, bias=not norm)
        return nn.Sequential(conv, *([nn.BatchNorm2d(b)] if norm else []), nn.LeakyReLU(0.2))

    blocks = [block(100, d, 1, 0)]
    for _ in range(repeats):
        blocks.append(block(d, d // 2, 2, 1))
        d //= 2
    blocks.append(nn.Sequential(nn.ConvTranspose2d(d, 3, 4, 2, 1), nn.Tanh()))
    return Viewed("model", nn.Sequential(*blocks))


def torchgan_container(model: nn.Module) -> Any:
    critic = Named("model", descent([3, 16, 32, 64]))
    return {
        "epoch": 5,
        "generator": model.state_dict(),
        "optimizer_generator": optimizer_state(model),
        "discriminator": critic.state_dict(),
        "optimizer_discriminator": optimizer_state(critic),
        "loss_information": {"generator_losses": np.float64(1.25), "discriminator_losses": np.float32(0.5)},
        "loss_objects": [HingeLoss("mean")],
        "metric_objects": {},
    }


def torchgan_parallel_container(model: nn.Module) -> Any:
    """nn.DataParallel around the Sequential inside, so that `module.` stands in mid-key."""
    keys = {k.replace("model.", "model.module.", 1): v for k, v in model.state_dict().items()}
    return {**torchgan_container(model), "generator": keys}


class GanZoo(nn.Module):
    def __init__(self, width: int, depth: int = 3, tanh: bool = True) -> None:
        super().__init__()
        c = width * 2**depth
        self.formatLayer = nn.ConvTranspose2d(64, c, 4, 1, 0, bias=False)
        layers: OrderedDict[str, nn.Module] = OrderedDict(batchNorm0=nn.BatchNorm2d(c), relu0=nn.ReLU())
        for i in range(1, depth + 1):
            layers[f"convTranspose{i}"] = nn.ConvTranspose2d(c, c // 2, 4, 2, 1, bias=False)
            layers[f"batchNorm{i}"] = nn.BatchNorm2d(c // 2)
            layers[f"relu{i}"] = nn.ReLU()
            c //= 2
        layers["outlayer"] = nn.ConvTranspose2d(c, 3, 4, 2, 1, bias=False)
        self.main = nn.Sequential(layers)
        self.last: nn.Module = nn.Tanh() if tanh else nn.Identity()

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.last(self.main(self.formatLayer(z.view(-1, z.size(1), 1, 1))))
        return out


class GanZooCritic(nn.Module):
    """Its Conv2ds are called convTranspose, and count downwards."""

    def __init__(self, depth: int = 3) -> None:
        super().__init__()
        c = 16
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers[f"convTranspose{depth}"] = nn.Conv2d(3, c, 4, 2, 1, bias=False)
        for i in reversed(range(depth)):
            layers[f"convTranspose{i}"] = nn.Conv2d(c, c * 2, 4, 2, 1, bias=False)
            layers[f"batchNorm{i}"] = nn.BatchNorm2d(c * 2)
            c *= 2
        self.main = nn.Sequential(layers)
        self.decisionLayer = nn.Conv2d(c, 1, 4, 1, 0, bias=False)


def gan_zoo_container(model: nn.Module) -> Any:
    return {
        "config": BaseConfig(latentVectorDim=64, depth=3, lossCriterion="DCGAN"),
        "netG": model.state_dict(),
        "netD": GanZooCritic().state_dict(),
        "avgG": model.state_dict(),
    }


def aladdinpersson(width: int) -> nn.Module:
    def block(a: int, b: int, stride: int, padding: int) -> nn.Module:
        conv = nn.ConvTranspose2d(a, b, 4, stride, padding, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(b), nn.ReLU())

    g = width
    blocks = [
        block(100, g * 16, 1, 0),
        block(g * 16, g * 8, 2, 1),
        block(g * 8, g * 4, 2, 1),
        block(g * 4, g * 2, 2, 1),
    ]
    return Named("net", nn.Sequential(*blocks, nn.ConvTranspose2d(g * 2, 3, 4, 2, 1), nn.Tanh()))


def aladdinpersson_container(model: nn.Module) -> Any:
    return {"state_dict": model.state_dict(), "optimizer": optimizer_state(model)}


def coursera(width: int, nz: int = 64) -> nn.Module:
    def block(a: int, b: int, kernel: int = 3, stride: int = 2) -> nn.Module:
        return nn.Sequential(nn.ConvTranspose2d(a, b, kernel, stride), nn.BatchNorm2d(b), nn.ReLU())

    h = width
    last = nn.Sequential(nn.ConvTranspose2d(h, 1, 4, 2), nn.Tanh())
    return Viewed("gen", nn.Sequential(block(nz, h * 4), block(h * 4, h * 2, 4, 1), block(h * 2, h), last))


def coursera_critic() -> nn.Module:
    def block(a: int, b: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(a, b, 4, 2), nn.BatchNorm2d(b), nn.LeakyReLU(0.2))

    return Named("disc", nn.Sequential(block(1, 16), block(16, 32), nn.Sequential(nn.Conv2d(32, 1, 4, 2))))


def natsu_container(model: nn.Module) -> Any:
    critic = NumberedCritic()
    return {
        "generator": model.state_dict(),
        "discriminator": critic.state_dict(),
        "optimizerG": optimizer_state(model),
        "optimizerD": optimizer_state(critic),
        "params": {"bsize": 128, "imsize": 64, "nc": 3, "nz": 100, "ngf": 64, "lr": 0.0002, "save_epoch": 2},
    }


ROWS: tuple[Original, ...] = (
    Original("natsu6767", Numbered, 64, 12, 100, (3, 64, 64), container=natsu_container),
    Original("znxlwm-dcgan", NumberedBn, 128, 10, 100, (1, 64, 64), suffix=".pkl", critic=NumberedCritic),
    Original("wassersteingan", lambda w: wasserstein(64, w), 64, 12, 100, (3, 64, 64)),
    Original("wassersteingan-extra", lambda w: wasserstein(32, w, extra=2), 64, 12, 100, (3, 32, 32)),
    Original("wassersteingan-nobn", lambda w: wasserstein(64, w, norm=False), 64, 12, 100, (3, 64, 64)),
    Original("wassersteingan-dots", lambda w: wasserstein(32, w, extra=1), 16, 12, 100, (3, 32, 32), container=dotted),
    Original("torchgan", torchgan, 64, 10, 100, (3, 32, 32), latent="vector", container=torchgan_container,
             suffix=".model"),
    Original("torchgan-16-nobn", lambda w: torchgan(w, 16, norm=False), 64, 10, 100, (3, 16, 16), latent="vector",
             container=torchgan_container, suffix=".model"),
    Original("torchgan-parallel", lambda w: torchgan(w, 64), 16, 10, 100, (3, 64, 64), latent="vector",
             container=torchgan_parallel_container, suffix=".model"),
    Original("gan-zoo", GanZoo, 64, 10, 64, (3, 64, 64), latent="vector", container=gan_zoo_container,
             critic=GanZooCritic, suffix=".pt"),
    Original("gan-zoo-wgangp", lambda w: GanZoo(w, 2, tanh=False), 64, 10, 64, (3, 32, 32), latent="vector",
             container=gan_zoo_container, overrides=ReadOptions(output="none"), range=None, suffix=".pt"),
    Original("aladdinpersson", aladdinpersson, 64, 10, 100, (3, 64, 64), container=aladdinpersson_container,
             critic=examples_critic, suffix=".pth.tar"),
    Original("coursera", coursera, 64, 10, 64, (1, 28, 28), latent="vector", critic=coursera_critic),
)  # fmt: skip
