"""Build the PyTorch modules of the layers of signals and volumes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from gan_export.graph.layers.convolution_nd import ConvNd, ConvTransposeNd, UpsampleNd
from gan_export.graph.torch_layers.base import Builder, Shapes

_CONV = {1: nn.Conv1d, 3: nn.Conv3d}
_CONV_TRANSPOSE = {1: nn.ConvTranspose1d, 3: nn.ConvTranspose3d}
_LINEAR = {1: "linear", 3: "trilinear"}  # torch's names of the mode, by the number of dimensions


class Interpolated(nn.Module):
    """The module of `UpsampleNd`: by integer factors; in linear mode at half-pixel centers."""

    def __init__(self, layer: UpsampleNd) -> None:
        super().__init__()
        self.factor = [float(f) for f in layer.factor]
        self.nearest = layer.mode == "nearest"
        self.mode = "nearest" if self.nearest else _LINEAR[len(layer.factor)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.nearest:
            return F.interpolate(x, scale_factor=self.factor, mode="nearest")
        return F.interpolate(x, scale_factor=self.factor, mode=self.mode, align_corners=False)


def _conv(la: ConvNd, _: Shapes) -> nn.Module:
    kind: Any = _CONV[len(la.kernel)]
    module: nn.Module = kind(la.in_channels, la.out_channels, la.kernel, la.stride, la.padding, bias=la.bias)
    return module


def _conv_transpose(la: ConvTransposeNd, _: Shapes) -> nn.Module:
    kind: Any = _CONV_TRANSPOSE[len(la.kernel)]
    module: nn.Module = kind(
        la.in_channels, la.out_channels, la.kernel, la.stride, la.padding, la.output_padding, bias=la.bias
    )
    return module


BUILDERS: Mapping[type[Any], Builder] = {
    ConvNd: _conv,
    ConvTransposeNd: _conv_transpose,
    UpsampleNd: lambda layer, _: Interpolated(layer),
}
