"""Augmentation of real and generated images before the discriminator, so that it can't overfit.

Differentiable: the generator learns through it (Zhao et al. 2020, DiffAugment).  Instance noise is from Arjovsky &
Bottou 2017.  Without any augmentation, no random numbers of the run are used.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_export.training import recipe
from gan_export.training.distributed import ALONE, Group
from gan_export.training.step_scalar import StepScalar


@dataclass(frozen=True, slots=True)
class _Draws:
    """Random numbers for images (N, C, S, S): this process's rows of those for the whole batch."""

    noise: torch.Generator
    group: Group

    def uniform(self, pictures: Tensor, count: int) -> Tensor:
        """Return uniform numbers in [0, 1): (count, N, 1, 1, 1)."""
        whole = (count, len(pictures) * self.group.size, 1, 1, 1)
        drawn = torch.rand(whole, generator=self.noise, device=pictures.device, dtype=pictures.dtype)
        return self.group.rows(drawn, 1)

    def normal(self, pictures: Tensor) -> Tensor:
        """Return normal numbers in the shape of the images."""
        whole = (len(pictures) * self.group.size, *pictures.shape[1:])
        drawn = torch.randn(whole, generator=self.noise, device=pictures.device, dtype=pictures.dtype)
        return self.group.rows(drawn)


def noise_at(settings: recipe.Augment, progress: float) -> float:
    """Return the standard deviation of instance noise at a run's `progress`, 0 to 1."""
    return settings.noise * max(0.0, 1.0 - progress / settings.noise_until)


def augmented(
    pictures: Tensor, settings: recipe.Augment, spread: StepScalar, noise: torch.Generator, group: Group = ALONE
) -> Tensor:
    """Augment images (N, C, S, S) in [-1, 1] with random numbers of `noise`; `spread` is that of instance noise."""
    draws = _Draws(noise, group)
    if settings.color:
        pictures = _color(pictures, draws)
    if settings.translate:
        pictures = _translate(pictures, settings.translate, draws)
    if settings.cutout:
        pictures = _cutout(pictures, settings.cutout, draws)
    if spread.value:
        pictures = pictures + spread.read * draws.normal(pictures)
    return pictures


def _color(x: Tensor, draws: _Draws) -> Tensor:
    """Change brightness by +-0.5, saturation by 0..2, contrast by 0.5..1.5."""
    brightness, saturation, contrast = draws.uniform(x, 3)
    x = x + (brightness - 0.5)
    gray = x.mean(1, keepdim=True)
    x = (x - gray) * (saturation * 2) + gray
    level = x.mean((1, 2, 3), keepdim=True)
    changed: Tensor = (x - level) * (contrast + 0.5) + level
    return changed


def _translate(x: Tensor, share: float, draws: _Draws) -> Tensor:
    """Shift by whole pixels, up to `share` of the side, filling with black (-1)."""
    n, c, size, _ = x.shape
    reach = max(1, round(size * share))
    down, right = (draws.uniform(x, 2) * (2 * reach + 1)).floor().long().view(2, n, 1)  # 0 .. 2 reach
    padded = F.pad(x, (reach,) * 4, value=-1.0)
    steps = torch.arange(size, device=x.device)
    rows = (down + steps).view(n, 1, size, 1).expand(n, c, size, padded.shape[3])
    columns = (right + steps).view(n, 1, 1, size).expand(n, c, size, size)
    return padded.gather(2, rows).gather(3, columns)


def _cutout(x: Tensor, share: float, draws: _Draws) -> Tensor:
    """Set a square with `share` of the side to gray (0), with its center anywhere in the image."""
    size = x.shape[2]
    side = max(1, round(size * share))
    top, left = (draws.uniform(x, 2) * size).floor() - side // 2  # (N, 1, 1, 1) each
    at = torch.arange(size, device=x.device, dtype=x.dtype)
    rows, columns = at.view(1, 1, size, 1), at.view(1, 1, 1, size)
    inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return x.masked_fill(inside, 0.0)
