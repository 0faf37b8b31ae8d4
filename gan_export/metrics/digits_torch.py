"""The bundled classifier of digits as a module of torch, whose features a generator can learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from gan_export.metrics.digits import Classifier


class _Features(nn.Module):
    """Images (N, 1, H, W) in [-1, 1] -> features (N, F), as `Classifier.features` computes them from bytes."""

    def __init__(self, classifier: Classifier, pooled: Sequence[bool], size: int) -> None:
        super().__init__()
        self._size = size
        self._pooled = tuple(pooled)
        layers = []
        for weight, bias in classifier.convolutions:  # (9 x inputs, outputs)
            conv = nn.Conv2d(weight.shape[0] // 9, weight.shape[1], 3, padding=1)
            kernel = torch.from_numpy(weight.reshape(3, 3, -1, weight.shape[1])).permute(3, 2, 0, 1)
            conv.weight, conv.bias = nn.Parameter(kernel.contiguous()), nn.Parameter(torch.from_numpy(bias))
            layers.append(conv)
        self.convolutions = nn.ModuleList(layers)
        weight, bias = classifier.dense
        self.dense = nn.Linear(*weight.shape)
        self.dense.weight = nn.Parameter(torch.from_numpy(weight.T.copy()))
        self.dense.bias = nn.Parameter(torch.from_numpy(bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] != self._size:
            x = F.interpolate(x, size=(self._size, self._size), mode="bilinear", align_corners=False)
        for conv, pooled in zip(self.convolutions, self._pooled, strict=True):
            x = F.relu(conv(x))
            x = F.max_pool2d(x, 2) if pooled else x
        flat = x.permute(0, 2, 3, 1).flatten(1)  # the dense layer's inputs are channels last
        return F.relu(self.dense(flat))


def features_module(classifier: Classifier, pooled: Sequence[bool], size: int) -> nn.Module:
    """Return the features as a module; pooled: the convolutions that a 2x2 max pooling follows; size: pixels a side."""
    return _Features(classifier, pooled, size)
