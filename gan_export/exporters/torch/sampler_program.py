"""The latent law before a generator, for torch.export: `sampler_module` with tensors for its integers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from gan_export.exporters.torch.sampler_module import Labels, Latents
from gan_export.graph.views import LatentImage

_MOST = 1 << 62
_REFUSAL = "seed, start, count or label is_out_of_range"


class SamplerProgram(nn.Module):
    """A sampler: forward(seed, start, count[, label]) returns uint8 (count, H, W, C).

    seed, start, count: int64, no dimensions; label: int64 (1,) or (count,) as in `Labels`.  Seeds are 0 .. 2^63-1,
    start and count up to 2^62; others raise.
    """

    def __init__(self, of: LatentImage, generator: nn.Module) -> None:
        super().__init__()
        self.latents = Latents(of)
        self.labels = Labels(of.classes) if of.classes else None
        self.generator = generator

    def forward(
        self, seed: torch.Tensor, start: torch.Tensor, count: torch.Tensor, label: torch.Tensor | None = None
    ) -> torch.Tensor:
        whole: Any = seed  # `rows` is annotated for int, but computes the same with a tensor
        inside = (seed >= 0) & (start >= 0) & (count >= 1) & (start <= _MOST) & (count <= _MOST)
        torch._assert_async(inside, _REFUSAL)
        n: Any = count.item()  # stays a symbol, which int() would not accept
        torch._check(n >= 1)
        index = torch.arange(n, dtype=torch.int64) + start
        z = self.latents.rows(whole, index)
        if self.labels is None or label is None:
            images: torch.Tensor = self.generator(z)
            return images
        length = torch.ones_like(label).sum()
        known = ((label >= -2) & (label < self.labels.classes)).all() & ((length == 1) | (length == count))
        torch._assert_async(known, _REFUSAL)
        each = label[torch.arange(n, dtype=torch.int64) % length]
        images = self.generator(z, self.labels.chosen(whole, index, each))
        return images


def example_inputs(of: LatentImage) -> tuple[torch.Tensor, ...]:
    """Return inputs to export with."""
    numbers = (torch.tensor(0), torch.tensor(0), torch.tensor(4))
    return (*numbers, torch.full((4,), -1)) if of.classes else numbers
