"""Build the PyTorch modules of the layers of style-based generators, of attention and of grouped convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from gan_export.graph.layers.attention import Attend, MaxPool
from gan_export.graph.layers.grouped import GroupedConv, GroupedConvTranspose
from gan_export.graph.layers.pooling import AvgPool
from gan_export.graph.layers.style import (
    AddNoise,
    AddPlane,
    ChannelBias,
    Channels,
    Demodulate,
    ModulatedConstant,
    PixelNorm,
    Row,
    Rows,
    ScaleChannels,
    ShiftChannels,
    Truncate,
)
from gan_export.graph.torch_layers.base import Builder, Shapes


class PixelNormed(nn.Module):
    """The module of `PixelNorm`: x divided by the root mean square over its channels."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt((x * x).mean(1, keepdim=True) + self.eps)


class Demodulation(nn.Module):
    """The module of `Demodulate`: styles (N, in) to factors (N, out)."""

    def __init__(self, inside: int, out: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out, inside))
        self.eps = eps

    def forward(self, style: torch.Tensor) -> torch.Tensor:
        return torch.rsqrt(F.linear(style * style, self.weight) + self.eps)


class StyledConstant(nn.Module):
    """The module of `ModulatedConstant`: a constant (C, H, W) × styles (N, C)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))

    def forward(self, style: torch.Tensor) -> torch.Tensor:
        return self.weight * style[:, :, None, None]


class ScaledChannels(nn.Module):
    """The module of `ScaleChannels`: (N, C, H, W) × (N, C)."""

    def forward(self, x: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
        return x * by[:, :, None, None]


class ShiftedChannels(nn.Module):
    """The module of `ShiftChannels`: (N, C, H, W) + (N, C)."""

    def forward(self, x: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
        return x + by[:, :, None, None]


class Biased(nn.Module):
    """The module of `ChannelBias`: (N, C, H, W) + (C,)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.bias[:, None, None]


class PlaneAdded(nn.Module):
    """The module of `AddPlane`: (N, C, H, W) + (1, H, W)."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, height, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.weight


class NoiseAdded(nn.Module):
    """The module of `AddNoise`: (N, C, H, W) + noise (N, 1, H, W) × (1,)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1))

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return x + noise * self.weight


class Truncated(nn.Module):
    """The module of `Truncate`: w (N, F) is interpolated between the center (psi 0) and w (psi 1), psi (N,)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.center = nn.Parameter(torch.empty(features))

    def forward(self, w: torch.Tensor, psi: torch.Tensor) -> torch.Tensor:
        return self.center + psi[:, None] * (w - self.center)


class RowOf(nn.Module):
    """The module of `Row`: (N, R, F) to (N, F)."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, self.index]


class RowsOf(nn.Module):
    """The module of `Rows`: several (N, F) to (N, R, F)."""

    def forward(self, *rows: torch.Tensor) -> torch.Tensor:
        return torch.stack(rows, 1)


class ChannelsOf(nn.Module):
    """The module of `Channels`: a range of axis 1."""

    def __init__(self, start: int, count: int) -> None:
        super().__init__()
        self.start, self.end = start, start + count

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, self.start : self.end]


class Attention(nn.Module):
    """The module of `Attend`: queries (N, D, H, W), keys (N, D, h, w) and values (N, C, h, w) to (N, C, H, W)."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.channels, self.height, self.width = channels, height, width

    def forward(self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        products = torch.matmul(queries.flatten(2).transpose(1, 2), keys.flatten(2))
        mixed = torch.matmul(torch.softmax(products, -1), values.flatten(2).transpose(1, 2))
        return mixed.transpose(1, 2).reshape(-1, self.channels, self.height, self.width)


def _grouped(x: GroupedConv, _: Shapes) -> nn.Module:
    return nn.Conv2d(x.in_channels, x.out_channels, x.kernel, padding=x.padding, groups=x.groups, bias=x.bias)


def _grouped_transpose(x: GroupedConvTranspose, _: Shapes) -> nn.Module:
    return nn.ConvTranspose2d(x.in_channels, x.out_channels, x.kernel, x.stride, x.padding, groups=x.groups, bias=False)


def _attend(_: Attend, shapes: Shapes) -> nn.Module:
    queries, _keys, values = shapes
    return Attention(values[0], queries[1], queries[2])


BUILDERS: Mapping[type[Any], Builder] = {
    AddNoise: lambda _, __: NoiseAdded(),
    AddPlane: lambda x, _: PlaneAdded(x.height, x.width),
    Attend: _attend,
    AvgPool: lambda x, _: nn.AvgPool2d(x.size),
    ChannelBias: lambda x, _: Biased(x.channels),
    Channels: lambda x, _: ChannelsOf(x.start, x.count),
    Demodulate: lambda x, _: Demodulation(x.in_features, x.out_features, x.eps),
    GroupedConv: _grouped,
    GroupedConvTranspose: _grouped_transpose,
    MaxPool: lambda x, _: nn.MaxPool2d(x.size),
    ModulatedConstant: lambda x, _: StyledConstant(tuple(x.shape)),
    PixelNorm: lambda x, _: PixelNormed(x.eps),
    Row: lambda x, _: RowOf(x.index),
    Rows: lambda x, _: RowsOf(),
    ScaleChannels: lambda _, __: ScaledChannels(),
    ShiftChannels: lambda _, __: ShiftedChannels(),
    Truncate: lambda x, _: Truncated(x.features),
}
