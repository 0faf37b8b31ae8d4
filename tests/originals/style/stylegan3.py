"""NVlabs' StyleGAN3: classes, attributes and arithmetic, with any filters instead of designed ones."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.originals.style.nvlabs import FullyConnectedLayer, MappingNetwork

MARGIN, TAPS = 10, 6


def filtered(x: Tensor, taps: Tensor, up: int, down: int, padding: tuple[int, int], gain: float) -> Tensor:
    """Zeros between, padding (negative: cut off), convolution, every `down`-th value."""
    n, c, h, w = x.shape
    wide = x.new_zeros(n, c, h, up, w, up)
    wide[:, :, :, 0, :, 0] = x
    wide = F.pad(wide.reshape(n, c, h * up, w * up), [*padding, *padding])
    kernel = taps if taps.ndim == 2 else torch.outer(taps, taps)
    kernel = (kernel.flip(0, 1) * gain).expand(c, 1, *kernel.shape)
    return F.conv2d(wide, kernel, groups=c)[:, :, ::down, ::down]


class SynthesisInput(nn.Module):
    def __init__(self, w_dim: int, channels: int, size: int, rate: float, bandwidth: float) -> None:
        super().__init__()
        self.w_dim, self.channels, self.sampling_rate = w_dim, channels, np.float64(rate)
        self.size, self.bandwidth = np.array([size, size]), np.float64(bandwidth)
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.affine = FullyConnectedLayer(w_dim, 4)
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", torch.randn(channels, 2) * bandwidth)
        self.register_buffer("phases", torch.rand(channels) - 0.5)

    def forward(self, w: Tensor) -> Tensor:
        images = []
        for t in self.affine(w):
            c, s, x, y = t / t[:2].norm()
            turn = torch.stack([torch.stack([c, -s, 0 * c]), torch.stack([s, c, 0 * c]), torch.tensor([0.0, 0, 1])])
            move = torch.stack([torch.stack([1 + 0 * x, 0 * x, -x]), torch.stack([0 * y, 1 + 0 * y, -y]), turn[2]])
            whole = turn @ move @ self.transform
            freqs = self.freqs @ whole[:2, :2]
            phases = self.phases + self.freqs @ whole[:2, 2]
            size = int(self.size[0])
            half = 0.5 * size / float(self.sampling_rate)
            row = ((2 * torch.arange(size) + 1) / size - 1) * half
            grid = torch.stack(torch.meshgrid(row, row, indexing="xy"), -1)
            waves = torch.sin((grid @ freqs.T + phases) * 2 * math.pi)
            beyond = (freqs.norm(dim=1) - self.bandwidth) / (self.sampling_rate / 2 - self.bandwidth)
            waves = waves * (1 - beyond).clamp(0, 1).float()
            images.append((waves @ self.weight.T / self.channels**0.5).permute(2, 0, 1))
        return torch.stack(images)


class SynthesisLayer(nn.Module):
    def __init__(
        self, w_dim: int, a: int, b: int, sizes: tuple[int, int], kernel: int, up: int, *, radial: bool, last: bool
    ) -> None:
        super().__init__()
        self.is_torgb, self.conv_kernel, self.conv_clamp, self.use_fp16 = last, kernel, 0.9, True
        self.in_size, self.out_size = (np.array([size, size]) for size in sizes)
        self.up_factor, self.down_factor = (1, 1) if last else (up, 2)
        self.up_taps, self.down_taps = (1, 1) if last else (TAPS * up, TAPS * 2)
        self.affine = FullyConnectedLayer(w_dim, a)
        self.weight, self.bias = nn.Parameter(torch.randn(b, a, kernel, kernel)), nn.Parameter(torch.zeros(b))
        self.register_buffer("magnitude_ema", torch.ones([]))
        down = torch.ones(12, 12) / 144 if radial else torch.ones(12) / 12
        self.register_buffer("up_filter", None if last else torch.ones(TAPS * up) / (TAPS * up))
        self.register_buffer("down_filter", None if last else down)
        total = (sizes[1] - 1) * self.down_factor + 1 - (sizes[0] + kernel - 1) * self.up_factor
        total += self.up_taps + self.down_taps - 2
        low = (total + self.up_factor) // 2
        self.padding = [low, total - low, low, total - low]

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        weight, made = self.weight, []
        if not self.is_torgb:
            weight = weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
        for image, style in zip(x, self.affine(w), strict=True):  # alone: no mean over a batch
            own = style * style.square().mean().rsqrt() if not self.is_torgb else style / style.numel() ** 0.5
            scaled = weight * own[:, None, None]
            if not self.is_torgb:
                scaled = scaled * (scaled.square().sum((1, 2, 3), keepdim=True) + 1e-8).rsqrt()
            scaled = scaled * self.magnitude_ema.rsqrt()
            made.append(F.conv2d(image[None], scaled, padding=self.conv_kernel - 1))
        y = torch.cat(made) + self.bias[:, None, None]
        if self.is_torgb:
            return y.clamp(-self.conv_clamp, self.conv_clamp)
        y = filtered(y, self.up_filter, self.up_factor, 1, (self.padding[0], self.padding[1]), self.up_factor**2)
        y = (F.leaky_relu(y, 0.2) * 2**0.5).clamp(-self.conv_clamp, self.conv_clamp)
        return filtered(y, self.down_filter, 1, self.down_factor, (0, 0), 1.0)


class SynthesisNetwork(nn.Module):
    """rates: sampling rates of the layers; the last two, and the one that gives the image, have the image's size."""

    def __init__(
        self, w_dim: int, rates: list[int], widths: list[int], kernel: int, channels: int, radial: bool
    ) -> None:
        super().__init__()
        resolution = rates[-1]
        sizes = [rate + 2 * MARGIN for rate in rates[:-1]] + [resolution] * 2
        self.w_dim, self.img_resolution, self.img_channels = w_dim, resolution, channels
        self.margin_size, self.output_scale, self.num_ws = MARGIN, 0.25, len(sizes) + 1
        self.input = SynthesisInput(w_dim, widths[0], sizes[0], rates[0], 2.0)
        self.layer_names = []
        rates, widths = [rates[0], *rates, resolution], [widths[0], *widths, channels]
        for i, size in enumerate(sizes):
            last = i == len(sizes) - 1
            before = sizes[max(i - 1, 0)]
            layer = SynthesisLayer(
                w_dim, widths[i], widths[i + 1], (before, size), 1 if last else kernel, 2 * rates[i + 1] // rates[i],
                radial=radial and i < len(sizes) - 2, last=last,
            )  # fmt: skip
            self.layer_names.append(f"L{i}_{size}_{widths[i + 1]}")
            self.add_module(self.layer_names[-1], layer)

    def forward(self, ws: Tensor) -> Tensor:
        x = self.input(ws[:, 0])
        for i, name in enumerate(self.layer_names):
            x = getattr(self, name)(x, ws[:, i + 1])
        return x * self.output_scale


class Generator(nn.Module):
    def __init__(
        self, z_dim: int, c_dim: int, w_dim: int, rates: list[int], widths: list[int], *, kernel: int = 3,
        channels: int = 3, radial: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.img_resolution, self.img_channels = rates[-1], channels
        self.synthesis = SynthesisNetwork(w_dim, rates, widths, kernel, channels, radial)
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(z_dim, c_dim, w_dim, self.num_ws, 2, 0.01)

    def forward(self, z: Tensor, label: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        out: Tensor = self.synthesis(self.mapping(z, label, psi, cutoff))
        return out


def moved(model: nn.Module, x: float, y: float, degrees: float) -> Generator:
    """Return a copy whose images are turned and then moved, as NVlabs' script does it by the input's transform."""
    made = copy.deepcopy(model)
    assert isinstance(made, Generator)
    turn = degrees / 360 * 2 * np.pi
    motion = np.array([[np.cos(turn), np.sin(turn), x], [-np.sin(turn), np.cos(turn), y], [0, 0, 1]])
    made.synthesis.input.transform.copy_(torch.from_numpy(np.linalg.inv(motion)))
    return made
