"""What is done to real and generated pictures alike before the discriminator sees them, so that it can't overfit.

Differentiable: the generator learns through it (Zhao et al. 2020, DiffAugment).  Instance noise is Arjovsky &
Bottou's of 2017.  With nothing asked for, nothing is drawn from the run's random numbers.
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
    """Random numbers for pictures (N, C, S, S), this process's of those for the whole batch."""

    noise: torch.Generator
    group: Group

    def uniform(self, pictures: Tensor, count: int) -> Tensor:
        """On [0, 1): (count, N, 1, 1, 1)."""
        whole = (count, len(pictures) * self.group.size, 1, 1, 1)
        drawn = torch.rand(whole, generator=self.noise, device=pictures.device, dtype=pictures.dtype)
        return self.group.rows(drawn, 1)

    def normal(self, pictures: Tensor) -> Tensor:
        """Of the pictures' own shape."""
        whole = (len(pictures) * self.group.size, *pictures.shape[1:])
        drawn = torch.randn(whole, generator=self.noise, device=pictures.device, dtype=pictures.dtype)
        return self.group.rows(drawn)


def noise_at(settings: recipe.Augment, progress: float) -> float:
    """The standard deviation of instance noise at a run's `progress`, 0 to 1."""
    return settings.noise * max(0.0, 1.0 - progress / settings.noise_until)


def augmented(
    pictures: Tensor, settings: recipe.Augment, spread: StepScalar, noise: torch.Generator, group: Group = ALONE
) -> Tensor:
    """Pictures (N, C, S, S) in [-1, 1], changed one by one by draws from `noise`; `spread` is instance noise's."""
    draws = _Draws(noise, group)
    if settings.colour:
        pictures = _colour(pictures, draws)
    if settings.translate:
        pictures = _translate(pictures, settings.translate, draws)
    if settings.cutout:
        pictures = _cutout(pictures, settings.cutout, draws)
    if spread.value:
        pictures = pictures + spread.read * draws.normal(pictures)
    return pictures


def _colour(x: Tensor, draws: _Draws) -> Tensor:
    """Brightness by +-0.5, saturation by 0..2, contrast by 0.5..1.5."""
    brightness, saturation, contrast = draws.uniform(x, 3)
    x = x + (brightness - 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (saturation * 2) + grey
    level = x.mean((1, 2, 3), keepdim=True)
    changed: Tensor = (x - level) * (contrast + 0.5) + level
    return changed


def _translate(x: Tensor, share: float, draws: _Draws) -> Tensor:
    """Shifted by whole pixels, up to `share` of the side, black (-1) moved in."""
    n, c, size, _ = x.shape
    reach = max(1, round(size * share))
    down, right = (draws.uniform(x, 2) * (2 * reach + 1)).floor().long().view(2, n, 1)  # 0 .. 2 reach
    padded = F.pad(x, (reach,) * 4, value=-1.0)
    steps = torch.arange(size, device=x.device)
    rows = (down + steps).view(n, 1, size, 1).expand(n, c, size, padded.shape[3])
    columns = (right + steps).view(n, 1, 1, size).expand(n, c, size, size)
    return padded.gather(2, rows).gather(3, columns)


def _cutout(x: Tensor, share: float, draws: _Draws) -> Tensor:
    """A square of `share` of the side set to grey (0), its centre anywhere on the picture."""
    size = x.shape[2]
    side = max(1, round(size * share))
    top, left = (draws.uniform(x, 2) * size).floor() - side // 2  # (N, 1, 1, 1) each
    at = torch.arange(size, device=x.device, dtype=x.dtype)
    rows, columns = at.view(1, 1, size, 1), at.view(1, 1, 1, size)
    inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return x.masked_fill(inside, 0.0)
