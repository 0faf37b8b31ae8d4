"""Build the PyTorch modules of layers for generators that take images.

The modules use only operations that every exporter can write with variable height, width and batch size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from gan_export.graph.layers.clipping import Clamp, PReLU
from gan_export.graph.layers.dropout import Dropout
from gan_export.graph.layers.instance_norm import InstanceNorm
from gan_export.graph.layers.padding import Pad
from gan_export.graph.layers.resampling import BlurDown, BlurUp, PixelShuffle, PixelUnshuffle
from gan_export.graph.torch_layers.base import Builder, Shapes


class ImageNorm(nn.Module):
    """The module of `InstanceNorm` without affine: each image of (N, C, H, W) normalized per channel.

    Not torch's instance_norm: it reshapes the batch into the channels, which makes the batch size a constant in an
    export.  This module uses only means.
    """

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        centered = x - x.mean((2, 3), keepdim=True)
        return centered * torch.rsqrt((centered * centered).mean((2, 3), keepdim=True) + self.eps)


class AffineImageNorm(nn.Module):
    """`ImageNorm` with a weight and a bias per channel."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        centered = x - x.mean((2, 3), keepdim=True)
        scale = torch.rsqrt((centered * centered).mean((2, 3), keepdim=True) + self.eps) * self.weight[:, None, None]
        return centered * scale + self.bias[:, None, None]


class Padded(nn.Module):
    """The module of `Pad` by reflection or replication: `size` rows or columns more on each side of (N, C, H, W)."""

    def __init__(self, size: int, mode: str) -> None:
        super().__init__()
        self.size, self.mode = size, mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pad(x, (self.size, self.size, self.size, self.size), mode=self.mode)


class Halved(nn.Module):
    """The module of `BlurDown`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.filt = nn.Parameter(torch.zeros(channels, 1, 3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.filt, stride=2, groups=self.channels)


class Doubled(nn.Module):
    """The module of `BlurUp`; its padding of 3 is CUT's padding of 2, plus the row and column that CUT crops."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.filt = nn.Parameter(torch.zeros(channels, 1, 4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
        return F.conv_transpose2d(padded, self.filt, stride=2, padding=3, groups=self.channels)


class Clamped(nn.Module):
    """The module of `Clamp`."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clamp(self.low, self.high)


class Dropped(nn.Module):
    """The module of `Dropout`: x × scale if u exceeds the threshold, else 0."""

    def __init__(self, threshold: float, scale: float) -> None:
        super().__init__()
        self.threshold, self.scale = threshold, scale

    def forward(self, x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        return x * (u > self.threshold).to(x.dtype) * self.scale


def _norm(layer: InstanceNorm, inputs: Shapes) -> nn.Module:
    return (AffineImageNorm if layer.affine else ImageNorm)(layer.channels, layer.eps)


def _pad(layer: Pad, inputs: Shapes) -> nn.Module:
    return nn.ZeroPad2d(layer.size) if layer.mode == "zeros" else Padded(layer.size, layer.mode)


BUILDERS: Mapping[type[Any], Builder] = {
    InstanceNorm: _norm,
    Pad: _pad,
    PixelShuffle: lambda layer, inputs: nn.PixelShuffle(layer.factor),
    PixelUnshuffle: lambda layer, inputs: nn.PixelUnshuffle(layer.factor),
    BlurDown: lambda layer, inputs: Halved(layer.channels),
    BlurUp: lambda layer, inputs: Doubled(layer.channels),
    PReLU: lambda layer, inputs: nn.PReLU(layer.slopes),
    Dropout: lambda layer, inputs: Dropped(layer.threshold, 1.0 / (1.0 - layer.rate)),
    Clamp: lambda layer, inputs: Clamped(layer.low, layer.high),
}
