"""Bound the memory of convolutions in float64, which compute the exact values of large images.

PyTorch's convolutions in float64 copy the input once per weight of the kernel: for a 3x3 kernel and an input of 32
channels of 1024 x 1024, the copies take 2.4 GB.
"""

from __future__ import annotations

import torch
from torch import nn

MOST_COPIED = 1 << 25  # values that PyTorch may copy for one image: 256 MiB


def bound_memory(module: nn.Module) -> nn.Module:
    """Replace the plain convolutions of a float64 module in place by `BoundedConv2d`, and return the module.

    Plain: stride 1, one group, no dilation, zero padding.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) and _is_plain(child):
            setattr(module, name, BoundedConv2d(child))
        else:
            bound_memory(child)
    return module


def _is_plain(conv: nn.Conv2d) -> bool:
    moves = conv.stride == (1, 1) and conv.dilation == (1, 1) and not isinstance(conv.padding, str)
    return moves and conv.groups == 1 and conv.padding_mode == "zeros"


class BoundedConv2d(nn.Module):
    """A Conv2d of stride 1, without groups or dilation, that copies little of its input.

    Up to MOST_COPIED values per image it uses PyTorch's convolution.  For larger images it adds up one matrix product
    per position in the kernel, which copies only the padded input.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self.convolution.weight, self.convolution.bias
        out, channels, kh, kw = weight.shape
        if channels * kh * kw * x.shape[2] * x.shape[3] <= MOST_COPIED:
            whole: torch.Tensor = self.convolution(x)
            return whole
        ph, pw = (int(p) for p in self.convolution.padding)
        x = nn.functional.pad(x, (pw, pw, ph, ph))
        height, wide = x.shape[2] - kh + 1, x.shape[3]
        # Flat rows: a shift by (i, j) is an offset.  The last kw - 1 columns mix two rows and are dropped at the end.
        flat, count = x.flatten(2), (height - 1) * wide + wide - kw + 1
        y = x.new_zeros(len(x), out, height * wide)
        for i in range(kh):
            for j in range(kw):
                start = i * wide + j
                for image, source in zip(y, flat, strict=True):
                    image[:, :count].addmm_(weight[:, :, i, j], source[:, start : start + count])
        y = y.view(len(x), out, height, wide)[..., : wide - kw + 1]
        return y if bias is None else y + bias[:, None, None]
