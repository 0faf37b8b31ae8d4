"""brownvc/R3GAN's generator: keys and arithmetic, under `Model.` as its training code wraps it."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.originals.style.filters import resampled


class Convolution(nn.Module):
    def __init__(self, a: int, b: int, kernel: int, groups: int = 1) -> None:
        super().__init__()
        self.Layer = nn.Conv2d(a, b, kernel, padding=(kernel - 1) // 2, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.Layer(x)
        return out


class BiasedActivation(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.Bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.Bias[:, None, None], 0.2)


class ResidualBlock(nn.Module):
    def __init__(self, width: int, groups: int, expansion: int) -> None:
        super().__init__()
        wide = width * expansion
        self.LinearLayer1, self.LinearLayer2 = Convolution(width, wide, 1), Convolution(wide, wide, 3, groups)
        self.LinearLayer3 = Convolution(wide, width, 1)
        self.NonLinearity1, self.NonLinearity2 = BiasedActivation(wide), BiasedActivation(wide)

    def forward(self, x: Tensor) -> Tensor:
        y = self.LinearLayer2(self.NonLinearity1(self.LinearLayer1(x)))
        out: Tensor = x + self.LinearLayer3(self.NonLinearity2(y))
        return out


class Upsampler(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("Kernel", torch.ones(4, 4) / 16)


class UpsampleLayer(nn.Module):
    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.Resampler = Upsampler()
        if a != b:
            self.LinearLayer = Convolution(a, b, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.LinearLayer(x) if hasattr(self, "LinearLayer") else x
        return resampled(x, self.Resampler.Kernel * 4, 2, 2, 1)


class GenerativeBasis(nn.Module):
    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.Basis = nn.Parameter(torch.randn(b, 4, 4))
        self.LinearLayer = nn.Linear(a, b, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.Basis * self.LinearLayer(x)[:, :, None, None]
        return out


class GeneratorStage(nn.Module):
    def __init__(self, first: nn.Module, width: int, groups: int, blocks: int, expansion: int) -> None:
        super().__init__()
        self.Layers = nn.ModuleList([first, *(ResidualBlock(width, groups, expansion) for _ in range(blocks))])
        self.DataType = torch.float32

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.Layers:
            x = layer(x)
        return x


class Network(nn.Module):
    def __init__(
        self, nz: int, widths: list[int], groups: list[int], blocks: list[int], classes: int, dim: int
    ) -> None:
        super().__init__()
        firsts: list[nn.Module] = [GenerativeBasis(nz + (dim if classes else 0), widths[0])]
        firsts += [UpsampleLayer(a, b) for a, b in itertools.pairwise(widths)]
        sizes = zip(firsts, widths, groups, blocks, strict=True)
        self.MainLayers = nn.ModuleList([GeneratorStage(f, w, g, n, 2) for f, w, g, n in sizes])
        self.AggregationLayer = Convolution(widths[-1], 3, 1)
        if classes:
            self.EmbeddingLayer = nn.Linear(classes, dim, bias=False)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        if label is not None:
            z = torch.cat((z, self.EmbeddingLayer(F.one_hot(label, self.EmbeddingLayer.in_features).to(z.dtype))), 1)
        for stage in self.MainLayers:
            z = stage(z)
        out: Tensor = self.AggregationLayer(z)
        return out


class Generator(nn.Module):
    """Attributes and keys as in a pickle of R3GAN's training."""

    def __init__(
        self, nz: int, widths: list[int], groups: list[int], blocks: list[int], classes: int = 0, dim: int = 0
    ) -> None:
        super().__init__()
        self.Model = Network(nz, widths, groups, blocks, classes, dim)
        self.z_dim, self.c_dim, self.img_resolution = nz, classes, 4 * 2 ** (len(widths) - 1)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        out: Tensor = self.Model(z, label)
        return out
