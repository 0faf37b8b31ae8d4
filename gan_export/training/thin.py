"""Convolutions of volumes with one channel on one side, in about half the time of torch's own on a CPU.

They are nn.Conv3d and nn.ConvTranspose3d with kernel 4, stride 2 and padding 1: the same weights, the same keys, the
same sums.  A CPU's convolutions work on blocks of channels, so here the 2x2x2 voxels of a stride become 8 channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LAYOUT = torch.channels_last_3d


class FromOneChannel(nn.Conv3d):
    """The convolution (N, 1, S, S, S) -> (N, O, S/2, S/2, S/2)."""

    def forward(self, x: Tensor) -> Tensor:
        n, half = len(x), x.shape[2] // 2 + 1  # of the padded side
        pairs = F.pad(x, (1,) * 6).reshape(n, half, 2, half, 2, half, 2)
        voxels = pairs.permute(0, 2, 4, 6, 1, 3, 5).reshape(n, 8, half, half, half)
        taps = self.weight.reshape(-1, 2, 2, 2, 2, 2, 2).permute(0, 2, 4, 6, 1, 3, 5).reshape(-1, 8, 2, 2, 2)
        return F.conv3d(voxels.contiguous(memory_format=LAYOUT), taps.contiguous(memory_format=LAYOUT), self.bias)


class ToOneChannel(nn.ConvTranspose3d):
    """The transposed convolution (N, I, S, S, S) -> (N, 1, 2S, 2S, 2S)."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        n, side = len(x), x.shape[2] + 1  # in pairs, with the border that the padding removes
        # voxel 2j + r gets x[j] times tap r and x[j - 1] times tap r + 2; a convolution reads x[j - 1] first
        taps = self.weight.reshape(-1, 2, 2, 2, 2, 2, 2).flip(1, 3, 5).permute(2, 4, 6, 0, 1, 3, 5)
        taps = taps.reshape(8, -1, 2, 2, 2).contiguous(memory_format=LAYOUT)
        bias = None if self.bias is None else self.bias.expand(8)
        pairs = F.conv3d(x, taps, bias, padding=1).reshape(n, 2, 2, 2, side, side, side)
        voxels = pairs.permute(0, 4, 1, 5, 2, 6, 3).reshape(n, 1, 2 * side, 2 * side, 2 * side)
        return voxels[:, :, 1:-1, 1:-1, 1:-1]
