"""Build the PyTorch modules of linear and local attention, by operations that every export format has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from gan_export.graph.layers.linear_attention import ChannelNorm, ContextPool, Gelu, LinearAttend, LocalAttend
from gan_export.graph.torch_layers.base import Builder, Shapes


class LinearAttention(nn.Module):
    """The module of `LinearAttend`: three (N, C, H, W) to one."""

    def __init__(self, heads: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.channels, self.height, self.width = shape
        self.heads, self.depth = heads, self.channels // heads

    def forward(self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        q, k, v = (x.reshape(-1, self.heads, self.depth, self.height * self.width) for x in (queries, keys, values))
        context = torch.matmul(v, torch.softmax(k, 3).transpose(2, 3))  # (N, heads, depth of v, depth of k)
        mixed = torch.matmul(context, torch.softmax(q, 2) * self.depth**-0.5)
        return mixed.reshape(-1, self.channels, self.height, self.width)


class LocalAttention(nn.Module):
    """The module of `LocalAttend`: three (N, C, H, W) to one."""

    def __init__(self, heads: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.channels, self.height, self.width = shape
        self.heads, self.depth = heads, self.channels // heads

    def _around(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The nine neighbors of each position, each (N, heads, depth, H, W)."""
        wide = F.pad(x, (1, 1, 1, 1))
        return [
            wide[:, :, i : i + self.height, j : j + self.width].reshape(
                -1, self.heads, self.depth, self.height, self.width
            )
            for i in range(3)
            for j in range(3)
        ]

    def forward(self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        q = queries.reshape(-1, self.heads, self.depth, self.height, self.width) * self.depth**-0.5
        scores = torch.stack([(q * k).sum(2, keepdim=True) for k in self._around(keys)], 5)
        share = torch.softmax(scores, 5)
        mixed = sum(share[..., i] * v for i, v in enumerate(self._around(values)))
        assert isinstance(mixed, torch.Tensor)
        return mixed.reshape(-1, self.channels, self.height, self.width)


class PooledContext(nn.Module):
    """The module of `ContextPool`: scores (N, 1, H, W) and x (N, C, H, W) to (N, C)."""

    def forward(self, scores: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        share = torch.softmax(scores.flatten(2), 2)
        return torch.matmul(x.flatten(2), share.transpose(1, 2)).flatten(1)


class ChannelNormed(nn.Module):
    """The module of `ChannelNorm`."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.weight, self.bias = (nn.Parameter(torch.empty(channels)) for _ in range(2))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        apart = x - x.mean(1, keepdim=True)
        scaled = apart / torch.sqrt((apart * apart).mean(1, keepdim=True) + self.eps)
        return scaled * self.weight[:, None, None] + self.bias[:, None, None]


def _linear(layer: LinearAttend, shapes: Shapes) -> nn.Module:
    return LinearAttention(layer.heads, shapes[0])


def _local(layer: LocalAttend, shapes: Shapes) -> nn.Module:
    return LocalAttention(layer.heads, shapes[0])


BUILDERS: Mapping[type[Any], Builder] = {
    ChannelNorm: lambda x, _: ChannelNormed(x.channels, x.eps),
    ContextPool: lambda _, __: PooledContext(),
    Gelu: lambda _, __: nn.GELU(),
    LinearAttend: _linear,
    LocalAttend: _local,
}
