"""Three ProGANs: keys and arithmetic of the generators of pytorch_GAN_zoo, pro_gan_pytorch and rosinality."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def he(layer: nn.Module, x: Tensor) -> float:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return math.sqrt(2 / weight[0].numel())


def normed(x: Tensor) -> Tensor:
    return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


class Wrapped(nn.Module):
    """A layer as `module`, whose result is scaled, its bias too."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.module = layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.module(x) * he(self.module, x)
        return out


class Zoo(nn.Module):
    """facebookresearch/pytorch_GAN_zoo's.  alpha: share of the stage before the last."""

    def __init__(
        self, nz: int, widths: list[int], *, channels: int = 3, alpha: float = 0.0, tanh: bool = False
    ) -> None:
        super().__init__()
        first, self.alpha, self.tanh = widths[0], alpha, tanh
        self.formatLayer = Wrapped(nn.Linear(nz, 16 * first))
        self.groupScale0 = nn.ModuleList([Wrapped(nn.Conv2d(first, first, 3, padding=1))])
        self.scaleLayers = nn.ModuleList(
            nn.ModuleList([Wrapped(nn.Conv2d(a, b, 3, padding=1)), Wrapped(nn.Conv2d(b, b, 3, padding=1))])
            for a, b in itertools.pairwise(widths)
        )
        self.toRGBLayers = nn.ModuleList(Wrapped(nn.Conv2d(w, channels, 1)) for w in widths)

    def forward(self, z: Tensor, labels: Tensor | None = None, classes: int = 0) -> Tensor:
        if labels is not None:
            z = torch.cat([z, F.one_hot(labels, classes)], 1)
        x = F.leaky_relu(self.formatLayer(normed(z)), 0.2).unflatten(1, (-1, 4, 4))
        x = before = normed(F.leaky_relu(self.groupScale0[0](normed(x)), 0.2))
        for convs in self.scaleLayers:
            before, x = x, F.interpolate(x, scale_factor=2)
            for conv in convs:  # type: ignore[union-attr]
                x = normed(F.leaky_relu(conv(x), 0.2))
        y = self.toRGBLayers[-1](x)
        y = (1 - self.alpha) * y + self.alpha * F.interpolate(self.toRGBLayers[-2](before), scale_factor=2)
        return torch.tanh(y) if self.tanh else y


class BaseConfig:
    """The class of its settings, by another name than that in its files: a reader knows none of them."""

    def __init__(self, **settings: Any) -> None:
        self.__dict__.update(settings)


def zoo_file(model: Zoo, path: Path, **settings: Any) -> Path:
    """As its trainer saves it: settings, both networks, the average."""
    usual = {
        "alpha": model.alpha, "lossCriterion": "DCGAN" if model.tanh else "WGANGP", "leakyReluLeak": 0.2,
        "equalizedlR": True, "depthOtherScales": [0] * len(model.scaleLayers), "categoryVectorDim": 0,
        "attribKeysOrder": None,
    }  # fmt: skip
    config = BaseConfig(**{**usual, **settings})
    state = model.state_dict()
    raw = {k: torch.zeros_like(v) for k, v in state.items()}
    critic = {"decisionLayer.module.weight": torch.ones(1, 8), "decisionLayer.module.bias": torch.ones(1)}
    torch.save({"config": config, "netG": raw, "netD": critic, "avgG": state}, path)
    return path


class Block(nn.Module):
    def __init__(self, a: int, b: int, *, first: bool = False) -> None:
        super().__init__()
        self.conv_1 = nn.ConvTranspose2d(a, b, 4) if first else nn.Conv2d(a, b, 3, padding=1)
        self.conv_2 = nn.Conv2d(b, b, 3, padding=1)


class Akanimax(nn.Module):
    """akanimax/pro_gan_pytorch's."""

    def __init__(self, nz: int, widths: list[int]) -> None:
        super().__init__()
        inside = [nz, *widths]
        self.layers = nn.ModuleList(Block(inside[i], w, first=i == 0) for i, w in enumerate(widths))
        self.rgb_converters = nn.ModuleList(nn.Conv2d(w, 3, 1) for w in widths)

    def forward(self, z: Tensor, stage: int | None = None) -> Tensor:
        stage = len(self.layers) - 1 if stage is None else stage
        start: Any = self.layers[0]
        x = F.conv_transpose2d(normed(z)[:, :, None, None], start.conv_1.weight * math.sqrt(2 / z.shape[1]))
        x = F.leaky_relu(x + start.conv_1.bias[:, None, None], 0.2)
        x = normed(F.leaky_relu(scaled(start.conv_2, x), 0.2))
        for block in self.layers[1 : stage + 1]:
            x = F.interpolate(x, scale_factor=2)
            for conv in (block.conv_1, block.conv_2):
                x = normed(F.leaky_relu(scaled(conv, x), 0.2))
        return scaled(self.rgb_converters[stage], x)


def scaled(layer: Any, x: Tensor) -> Tensor:
    return F.conv2d(x, layer.weight * he(layer, x), layer.bias, padding=layer.padding)


def akanimax_file(model: Akanimax, path: Path, **settings: Any) -> Path:
    state = model.state_dict()
    conf = {"depth": len(model.layers) + 1, "num_channels": 3, "latent_size": model.layers[0].conv_1.in_channels}
    shadow = {"conf": {**conf, "use_eql": True, **settings}, "state_dict": state}
    raw = {"conf": shadow["conf"], "state_dict": {k: torch.zeros_like(v) for k, v in state.items()}}
    critic = {"conf": conf, "state_dict": {"layers.0.conv_3.weight": torch.ones(1, 8, 1, 1)}}
    torch.save({"generator": raw, "discriminator": critic, "shadow_generator": shadow, "gen_optim": {}}, path)
    return path


class Raw(nn.Module):
    """A convolution as `conv`, whose weight is `weight_orig`."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.conv = nn.Module()
        self.conv.weight_orig, self.conv.bias = layer.weight, layer.bias
        self.padding = layer.padding

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.conv.weight_orig, self.conv.bias
        return F.conv2d(x, weight * math.sqrt(2 / weight[0].numel()), bias, padding=self.padding)


class Normed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return normed(x)


class Rosinality(nn.Module):
    """rosinality/progressive-gan-pytorch's, with a label."""

    def __init__(self, nz: int, classes: int, widths: list[int]) -> None:
        super().__init__()
        self.label_embed = nn.Embedding(classes, classes)
        inside = [nz + classes, *widths]
        self.progression = nn.ModuleList()
        for i, w in enumerate(widths):
            kernel = 3 if i else 4
            layers = [Raw(nn.Conv2d(inside[i], w, kernel, padding=kernel - 1 if kernel == 4 else 1)), Normed()]
            layers += [nn.LeakyReLU(0.2), Raw(nn.Conv2d(w, w, 3, padding=1)), Normed(), nn.LeakyReLU(0.2)]
            block = nn.Module()
            block.conv = nn.Sequential(*layers)
            self.progression.append(block)
        self.to_rgb = nn.ModuleList(nn.Conv2d(w, 3, 1) for w in widths)

    def forward(self, z: Tensor, labels: Tensor, stage: int | None = None) -> Tensor:
        stage = len(self.to_rgb) - 1 if stage is None else stage
        x = torch.cat([normed(z), self.label_embed(labels)], 1)[:, :, None, None]
        for i, block in enumerate(self.progression[: stage + 1]):
            x = block.conv(F.interpolate(x, scale_factor=2) if i else x)
        out: Tensor = self.to_rgb[stage](x)
        return out


def random_progan(model: nn.Module, seed: int = 0) -> Any:
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.randn(p.shape, generator=draw) * (0.3 if name.endswith("bias") else 1.0))
    return model.eval()
