"""Generators that are one flat Sequential on a latent of one pixel, and their discriminators."""

from __future__ import annotations

import itertools
from typing import Any

from torch import Tensor, nn

from gan_export.recognize import ReadOptions
from tests.originals.common import Named, Original, optimizer_state


def ladder(nz: int, channels: list[int], first: int = 4, bias: bool = False, last: nn.Module | None = None) -> Any:
    """nz -> channels[0] at first x first -> doubled for each further one; tanh."""
    layers: list[nn.Module] = [nn.ConvTranspose2d(nz, channels[0], first, 1, 0, bias=bias)]
    for i, (a, b) in enumerate(itertools.pairwise(channels)):
        layers += [nn.BatchNorm2d(a), nn.ReLU()]
        final = i == len(channels) - 2
        layers.append(last if final and last is not None else nn.ConvTranspose2d(a, b, 4, 2, 1, bias=bias))
    return nn.Sequential(*layers, nn.Tanh())


def descent(channels: list[int], bias: bool = False, sigmoid: bool = True) -> nn.Sequential:
    """The DCGAN discriminator: halved at each step, then one number."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(channels)):
        layers.append(nn.Conv2d(a, b, 4, 2, 1, bias=bias))
        if i:
            layers.append(nn.BatchNorm2d(b))
        layers.append(nn.LeakyReLU(0.2))
    layers.append(nn.Conv2d(channels[-1], 1, 4, 1, 0, bias=bias))
    return nn.Sequential(*layers, *([nn.Sigmoid()] if sigmoid else []))


class WithoutTanh(nn.Module):
    """Zeleni9's: the output activation is an attribute of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.main_module = ladder(100, [width * 4, width * 2, width, 3], bias=True)[:-1]
        self.output = nn.Tanh()

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.output(self.main_module(z))
        return out


class Viewed(nn.Module):
    """Takes (N, nz) and views it as one pixel."""

    def __init__(self, name: str, net: nn.Module) -> None:
        super().__init__()
        self.attribute = name
        self.add_module(name, net)

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = getattr(self, self.attribute)(z.view(z.size(0), -1, 1, 1))
        return out


def classic(width: int) -> nn.Module:
    return Named("model", ladder(100, [width * 4, width * 2, width, 1], bias=True))


def examples(width: int, nc: int = 3) -> nn.Module:
    return Named("main", ladder(100, [width * 8, width * 4, width * 2, width, nc]))


def examples_critic() -> nn.Module:
    return Named("main", descent([3, 16, 32, 64, 128]))


def ray_container(model: nn.Module) -> Any:
    critic = Named("main", descent([1, 8, 16, 32]))
    return {
        "netDmodel": critic.state_dict(),
        "netGmodel": model.state_dict(),
        "optimD": optimizer_state(critic),
        "optimG": optimizer_state(model),
    }


def collections_container(model: nn.Module) -> Any:
    critic = Named("main", descent([3, 16, 32, 64]))
    return {
        "net_G": model.state_dict(),
        "net_D": critic.state_dict(),
        "optim_G": optimizer_state(model),
        "optim_D": optimizer_state(critic),
        "sched_G": {"last_epoch": 3, "base_lrs": [2e-4]},
        "sched_D": {"last_epoch": 3, "base_lrs": [2e-4]},
    }


def ignite_container(model: nn.Module) -> Any:
    return {"netG": model.state_dict(), "netD": examples_critic().state_dict()}


def parallel(model: nn.Module) -> Any:
    """What nn.DataParallel's state_dict looks like: every key under `module.`."""
    return {f"module.{k}": v for k, v in model.state_dict().items()}


def k1(width: int, nc: int, padding: int) -> nn.Module:
    """csinva's: a last kernel of 1."""
    last = nn.ConvTranspose2d(width, nc, 1, 1, padding, bias=False)
    return Named("main", ladder(100, [width * 8, width * 4, width * 2, width, nc], last=last))


def smoothed(width: int) -> nn.Module:
    """torch-fidelity's and christiancosgrove's: a last kernel of 3 that keeps the size."""
    last = nn.ConvTranspose2d(width, 3, 3, 1, 1)
    return Viewed("model", ladder(128, [width * 8, width * 4, width * 2, width, 3], bias=True, last=last))


def classic_critic() -> nn.Module:
    return Named("model", descent([1, 16, 32, 64], bias=True))


ROWS: tuple[Original, ...] = (
    Original("classic", classic, 128, 24, 100, (1, 32, 32), critic=classic_critic),
    Original("examples", examples, 64, 20, 100, (3, 64, 64), critic=examples_critic),
    Original("examples-parallel", examples, 64, 12, 100, (3, 64, 64), container=parallel, critic=examples_critic),
    Original(
        "ray", lambda w: Named("main", ladder(100, [w * 4, w * 2, w, 1])), 32, 10, 100, (1, 32, 32),
        container=ray_container, suffix=".pt",
    ),
    Original("csinva-mnist", lambda w: k1(w, 1, 2), 64, 12, 100, (1, 28, 28), zipped=False, cuda=True),
    Original("csinva-cifar", lambda w: k1(w, 3, 0), 64, 12, 100, (3, 32, 32), zipped=False, cuda=True),
    Original(
        "csinva-gray32", lambda w: k1(w, 1, 0), 64, 12, 100, (1, 32, 32), zipped=False,
        overrides=ReadOptions(image_size=32),
    ),
    Original(
        "collections-dcgan",
        lambda w: Viewed("main", ladder(100, [w * 8, w * 4, w * 2, w, 3], first=2)), 128, 12, 100, (3, 32, 32),
        latent="vector", container=collections_container, suffix=".pt",
    ),
    Original(
        "ignite", lambda w: Named("net", ladder(100, [w * 8, w * 4, w * 2, w, 3])), 64, 12, 100, (3, 64, 64),
        container=ignite_container,
    ),
    Original("huggan", lambda w: Named("model", ladder(100, [w * 8, w * 4, w * 2, w, 3])), 64, 12, 100, (3, 64, 64),
             suffix=".bin"),
    Original("torch-fidelity", smoothed, 64, 12, 128, (3, 32, 32), latent="vector"),
    Original("zeleni9", WithoutTanh, 256, 16, 100, (3, 32, 32), suffix=".pkl"),
)  # fmt: skip
