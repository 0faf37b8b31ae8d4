"""Resampling by a FIR filter, as plain zero insertion and correlation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def resampled(x: Tensor, taps: Tensor, up: int, before: int, after: int) -> Tensor:
    """(N, C, H, W) with zeros put in, padded and convolved with `taps` (k, k): its kernel is flipped."""
    n, c, h, w = x.shape
    wide = x.new_zeros(n, c, h * up, w * up)
    wide[:, :, ::up, ::up] = x
    wide = F.pad(wide, (before, after, before, after))
    kernel = taps.flip(0, 1)[None, None].to(x.dtype)
    return F.conv2d(wide.reshape(n * c, 1, *wide.shape[2:]), kernel).reshape(n, c, *_less(wide, taps))


def _less(wide: Tensor, taps: Tensor) -> tuple[int, int]:
    return wide.shape[2] - taps.shape[0] + 1, wide.shape[3] - taps.shape[1] + 1


def modulated(x: Tensor, weight: Tensor, style: Tensor, taps: Tensor | None, *, demodulate: bool = True) -> Tensor:
    """Each image by a weight (O, I, k, k) of its own; with `taps`, at twice the size."""
    images = []
    for image, s in zip(x, style, strict=True):
        w = weight * s[None, :, None, None]
        if demodulate:
            w = w / torch.sqrt(w.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        if taps is None:
            images.append(F.conv2d(image[None], w, padding=w.shape[2] // 2))
        else:
            images.append(resampled(F.conv_transpose2d(image[None], w.transpose(0, 1), stride=2), taps, 1, 1, 1))
    return torch.cat(images)


def leaky(x: Tensor, gain: float = 2**0.5) -> Tensor:
    return F.leaky_relu(x, 0.2) * gain


def unit(x: Tensor) -> Tensor:
    """Vectors (N, F) of mean square 1."""
    return x / torch.sqrt(x.square().mean(1, keepdim=True) + 1e-8)
