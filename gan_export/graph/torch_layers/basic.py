"""Build the PyTorch modules of the basic layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from gan_export.graph import layers as la
from gan_export.graph.torch_layers.base import Builder, Shapes


class ChannelAffine(nn.Module):
    """The module of `Affine`: x × weight + bias, per channel of (N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dim() == 4:
            return x * self.weight[:, None, None] + self.bias[:, None, None]
        if x.dim() == 3:
            return x * self.weight[:, None] + self.bias[:, None]
        if x.dim() == 5:
            return x * self.weight[:, None, None, None] + self.bias[:, None, None, None]
        return x * self.weight + self.bias


class View(nn.Module):
    """The module of `Reshape`: each image gets another shape, and N stays."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = list(shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape([x.size(0)] + self.shape)  # noqa: RUF005  TorchScript has no unpacking in a list


class Bilinear(nn.Module):
    """The module of a bilinear `Upsample`: by an integer factor at half-pixel centers."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = float(factor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=self.factor, mode="bilinear", align_corners=False)


class Cropped(nn.Module):
    """The module of `Crop`: a window of (N, C, H, W)."""

    def __init__(self, top: int, left: int, height: int, width: int) -> None:
        super().__init__()
        self.top, self.left, self.bottom, self.right = top, left, top + height, left + width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, self.top : self.bottom, self.left : self.right]


class Scaled(nn.Module):
    """The module of `Scale`: x × factor + offset."""

    def __init__(self, factor: float, offset: float) -> None:
        super().__init__()
        self.factor, self.offset = factor, offset

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor + self.offset


class Sum(nn.Module):
    """The module of `Add`: the sum of two tensors."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a + b


class Product(nn.Module):
    """The module of `Multiply`: the elementwise product of two tensors."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a * b


class Indicator(nn.Module):
    """The module of `OneHot`: label (N,) to one-hot float32 (N, classes)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, label: torch.Tensor) -> torch.Tensor:
        columns = torch.arange(self.classes, device=label.device)
        return (label[:, None] == columns).to(torch.float32)


def _batch_norm(layer: la.BatchNorm, shapes: Shapes) -> nn.Module:
    kinds = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d, 4: nn.BatchNorm3d}
    return kinds[len(shapes[0])](layer.channels, layer.eps, affine=layer.affine)


def _activation(layer: la.Activation, _: Shapes) -> nn.Module:
    match layer.kind:
        case "relu":
            return nn.ReLU()
        case "leaky_relu":
            return nn.LeakyReLU(layer.slope)
        case "tanh":
            return nn.Tanh()
        case "sigmoid":
            return nn.Sigmoid()


def _upsample(layer: la.Upsample, _: Shapes) -> nn.Module:
    if layer.mode == "nearest":
        return nn.Upsample(scale_factor=float(layer.factor), mode="nearest")
    return Bilinear(layer.factor)


def _conv_transpose(la: la.ConvTranspose, _: Shapes) -> nn.Module:
    return nn.ConvTranspose2d(
        la.in_channels, la.out_channels, la.kernel, la.stride, la.padding, la.output_padding, bias=la.bias
    )


def _conv(la: la.Conv, _: Shapes) -> nn.Module:
    return nn.Conv2d(la.in_channels, la.out_channels, la.kernel, la.stride, la.padding, bias=la.bias)


BUILDERS: Mapping[type[Any], Builder] = {
    la.Linear: lambda x, _: nn.Linear(x.in_features, x.out_features, bias=x.bias),
    la.ConvTranspose: _conv_transpose,
    la.Conv: _conv,
    la.BatchNorm: _batch_norm,
    la.Affine: lambda x, _: ChannelAffine(x.channels),
    la.Activation: _activation,
    la.Elu: lambda x, _: nn.ELU(x.alpha),
    la.Upsample: _upsample,
    la.Add: lambda _, __: Sum(),
    la.Multiply: lambda _, __: Product(),
    la.Reshape: lambda x, _: View(x.shape),
    la.Crop: lambda x, _: Cropped(x.top, x.left, x.height, x.width),
    la.Scale: lambda x, _: Scaled(x.factor, x.offset),
    la.Embedding: lambda x, _: nn.Embedding(x.classes, x.dim),
    la.OneHot: lambda x, _: Indicator(x.classes),
}
