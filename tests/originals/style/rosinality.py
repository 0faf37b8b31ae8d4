"""rosinality's stylegan2-pytorch: keys and arithmetic."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.originals.style.filters import leaky, modulated, resampled, unit


class EqualLinear(nn.Module):
    def __init__(self, a: int, b: int, lr: float = 1.0, active: bool = False) -> None:
        super().__init__()
        self.lr, self.active = lr, active
        self.weight = nn.Parameter(torch.randn(b, a) / lr)
        self.bias = nn.Parameter(torch.zeros(b))

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.weight * (self.lr / self.weight.shape[1] ** 0.5), self.bias * self.lr)
        return leaky(y) if self.active else y


class Kernel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.ones(4, 4) / 4)


class ModulatedConv2d(nn.Module):
    def __init__(self, a: int, b: int, kernel: int, w_dim: int, up: bool, demodulate: bool) -> None:
        super().__init__()
        self.demodulate = demodulate
        if up:
            self.blur = Kernel()
        self.weight = nn.Parameter(torch.randn(1, b, a, kernel, kernel))
        self.modulation = EqualLinear(w_dim, a)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        weight = self.weight[0] / self.weight[0, 0].numel() ** 0.5
        taps = self.blur.kernel if hasattr(self, "blur") else None
        return modulated(x, weight, self.modulation(w), taps, demodulate=self.demodulate)


class StyledConv(nn.Module):
    def __init__(self, a: int, b: int, w_dim: int, up: bool) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(a, b, 3, w_dim, up, demodulate=True)
        self.noise = nn.Module()
        self.noise.weight = nn.Parameter(torch.zeros(1))
        self.activate = nn.Module()
        self.activate.bias = nn.Parameter(torch.zeros(b))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        y = self.conv(x, w) + self.noise.weight * noise
        return leaky(y + self.activate.bias[:, None, None])


class ToRGB(nn.Module):
    def __init__(self, a: int, w_dim: int, up: bool) -> None:
        super().__init__()
        if up:
            self.upsample = Kernel()
        self.conv = ModulatedConv2d(a, 3, 1, w_dim, up=False, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, w: Tensor, skip: Tensor | None) -> Tensor:
        y = self.conv(x, w) + self.bias
        return y if skip is None else y + resampled(skip, self.upsample.kernel, 2, 2, 1)


class Rosinality(nn.Module):
    def __init__(self, w_dim: int, layers: int, widths: list[int]) -> None:
        super().__init__()
        self.style = nn.Sequential(
            nn.Identity(), *(EqualLinear(w_dim, w_dim, 0.01, active=True) for _ in range(layers))
        )
        self.input = nn.Module()
        self.input.input = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        self.conv1 = StyledConv(widths[0], widths[0], w_dim, up=False)
        self.to_rgb1 = ToRGB(widths[0], w_dim, up=False)
        self.convs, self.to_rgbs, self.noises = nn.ModuleList(), nn.ModuleList(), nn.Module()
        for i in range(2 * len(widths) - 1):
            r = 2 ** ((i + 5) // 2)
            self.noises.register_buffer(f"noise_{i}", torch.randn(1, 1, r, r))
        for a, b in itertools.pairwise(widths):
            self.convs += [StyledConv(a, b, w_dim, up=True), StyledConv(b, b, w_dim, up=False)]
            self.to_rgbs.append(ToRGB(b, w_dim, up=True))
        self.num_ws = 2 * len(widths)

    def mapped(self, z: Tensor) -> Tensor:
        out: Tensor = self.style(unit(z))
        return out

    def synthesized(self, ws: Tensor, noises: list[Tensor]) -> Tensor:
        x = self.input.input.expand(len(ws), -1, -1, -1)
        x = self.conv1(x, ws[:, 0], noises[0])
        image = self.to_rgb1(x, ws[:, 1], None)
        for k, to_rgb in enumerate(self.to_rgbs):
            x = self.convs[2 * k](x, ws[:, 2 * k + 1], noises[2 * k + 1])
            x = self.convs[2 * k + 1](x, ws[:, 2 * k + 2], noises[2 * k + 2])
            image = to_rgb(x, ws[:, 2 * k + 3], image)
        return image

    def forward(
        self, z: Tensor, psi: float = 1.0, mean: Tensor | None = None, noises: list[Tensor] | None = None
    ) -> Tensor:
        w = self.mapped(z)
        if mean is not None:
            w = mean + psi * (w - mean)
        stored = [getattr(self.noises, f"noise_{i}") for i in range(self.num_ws - 1)]
        return self.synthesized(w[:, None].repeat(1, self.num_ws, 1), stored if noises is None else noises)
