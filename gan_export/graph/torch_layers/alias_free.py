"""Build the PyTorch modules of StyleGAN3's layers, by operations that every export format has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from gan_export.graph.layers.alias_free import FilterDown, FilterUp, FourierFeatures
from gan_export.graph.torch_layers.base import Builder


class Waves(nn.Module):
    """The module of `FourierFeatures`: (N, 4) to (N, C, side, side)."""

    grid: torch.Tensor

    def __init__(self, layer: FourierFeatures) -> None:
        super().__init__()
        self.transform = nn.Parameter(torch.empty(3, 3))
        self.freqs = nn.Parameter(torch.empty(layer.channels, 2))
        self.phases = nn.Parameter(torch.empty(layer.channels))
        self.bandwidth, self.range = layer.bandwidth, layer.sampling_rate / 2 - layer.bandwidth
        steps = (2 * torch.arange(layer.side, dtype=torch.float64) + 1) / layer.side - 1
        grid = steps * (0.5 * layer.side / layer.sampling_rate)
        self.register_buffer("grid", grid.to(self.freqs.dtype), persistent=False)

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        length = torch.sqrt(t[:, 0] * t[:, 0] + t[:, 1] * t[:, 1])
        cos, sin, x, y = (t[:, i] / length for i in range(4))
        # rows of rotation @ translation: (cos, -sin, cos·(-x) - sin·(-y)), (sin, cos, sin·(-x) + cos·(-y)), (0, 0, 1)
        m = self.transform
        rows = ((cos, -sin, sin * y - cos * x), (sin, cos, -(sin * x) - cos * y))
        ((ax, ay, az), (bx, by, bz)) = (
            tuple(row[0] * m[0, k] + row[1] * m[1, k] + row[2] * m[2, k] for k in range(3)) for row in rows
        )
        fx, fy = self.freqs[:, 0], self.freqs[:, 1]
        phases = self.phases + fx * az[:, None] + fy * bz[:, None]
        u = fx * ax[:, None] + fy * bx[:, None]  # cycles per unit along x, (N, C)
        v = fx * ay[:, None] + fy * by[:, None]
        amplitude = torch.clamp(1 - (torch.sqrt(u * u + v * v) - self.bandwidth) / self.range, 0, 1)
        along_x = u[:, :, None, None] * self.grid
        along_y = v[:, :, None, None] * self.grid[:, None]
        waves = torch.sin((along_x + along_y + phases[:, :, None, None]) * (2 * math.pi))
        return waves * amplitude[:, :, None, None]


class FilteredUp(nn.Module):
    """The module of `FilterUp`: a transposed convolution along each axis, cut to the rows and columns that it keeps."""

    def __init__(self, layer: FilterUp, height: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(layer.channels, layer.taps))
        self.channels, self.factor, self.start = layer.channels, layer.factor, layer.start
        _, self.height, self.width = layer.output_shape((layer.channels, height, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        c, f, start = self.channels, self.factor, self.start
        x = F.conv_transpose2d(x, self.weight.reshape(c, 1, 1, -1), stride=(1, f), groups=c)
        x = x[:, :, :, start : start + self.width]
        x = F.conv_transpose2d(x, self.weight.reshape(c, 1, -1, 1), stride=(f, 1), groups=c)
        return x[:, :, start : start + self.height]


class FilteredDown(nn.Module):
    """The module of `FilterDown`."""

    def __init__(self, layer: FilterDown) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(layer.parameters()["weight"]))
        self.channels, self.factor, self.separable = layer.channels, layer.factor, layer.separable

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        c, f, weight = self.channels, self.factor, self.weight
        if not self.separable:
            return F.conv2d(x, weight[:, None], stride=f, groups=c)
        x = F.conv2d(x, weight.reshape(c, 1, 1, -1), stride=(1, f), groups=c)
        return F.conv2d(x, weight.reshape(c, 1, -1, 1), stride=(f, 1), groups=c)


BUILDERS: Mapping[type[Any], Builder] = {
    FilterDown: lambda x, _: FilteredDown(x),
    FilterUp: lambda x, shapes: FilteredUp(x, shapes[0][1], shapes[0][2]),
    FourierFeatures: lambda x, _: Waves(x),
}
