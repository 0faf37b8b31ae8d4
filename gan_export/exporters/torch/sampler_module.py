"""The latent law (docs/latent-rng.md) as a TorchScript module before a generator: from a seed to bytes.

Annotations are not strings here, because torch.jit.script reads them as they are.
"""

from typing import Final

import torch
from torch import nn

from gan_export import latents
from gan_export.graph.views import LatentImage


class Words(nn.Module):
    """Philox4x32-10 on int64, in which products of 32-bit words wrap to the right bits."""

    first: Final[int]
    second: Final[int]
    weyl0: Final[int]
    weyl1: Final[int]

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = latents.MULTIPLIERS
        self.weyl0, self.weyl1 = latents.WEYL

    def forward(self, seed: int, index: torch.Tensor, block: torch.Tensor, stream: int) -> torch.Tensor:
        """Return the words of images `index` (N,) and blocks (B,): int64 (N, B, 4)."""
        mask = 0xFFFFFFFF
        c0 = block[None, :].expand(index.size(0), block.size(0))
        c1 = torch.full_like(c0, stream)
        c2 = (index & mask)[:, None].expand_as(c0)
        c3 = ((index >> 32) & mask)[:, None].expand_as(c0)
        k0 = seed & mask
        k1 = (seed >> 32) & mask
        for _ in range(10):
            p0, p1 = c0 * self.first, c2 * self.second
            c0 = ((p1 >> 32) & mask) ^ c1 ^ k0
            c2 = ((p0 >> 32) & mask) ^ c3 ^ k1
            c1 = p1 & mask
            c3 = p0 & mask
            k0 = (k0 + self.weyl0) & mask
            k1 = (k1 + self.weyl1) & mask
        return torch.stack((c0, c1, c2, c3), dim=2)


class Latents(nn.Module):
    """Latents by the law, float32 (count, nz), on the device of the table."""

    nz: Final[int]
    table: torch.Tensor

    def __init__(self, of: LatentImage) -> None:
        super().__init__()
        self.nz = of.nz
        values = latents.normal_table() if of.prior == "normal" else latents.uniform_table()
        self.register_buffer("table", torch.from_numpy(values.copy()))
        self.words = Words()

    def forward(self, seed: int, start: int, count: int) -> torch.Tensor:
        if seed < 0 or start < 0 or count < 1 or start > (1 << 62) or count > (1 << 62):
            raise ValueError("seed, start, count or label is_out_of_range")
        return self.rows(seed, torch.arange(count, dtype=torch.int64, device=self.table.device) + start)

    def rows(self, seed: int, index: torch.Tensor) -> torch.Tensor:
        """Return the latents of images `index` (N,), unchecked."""
        block = torch.arange((self.nz + 7) // 8, dtype=torch.int64, device=self.table.device)
        words = self.words(seed, index, block, 0)
        halves = torch.stack((words & 0xFFFF, words >> 16), dim=3)
        return self.table[halves.flatten(1)[:, : self.nz]]


class Labels(nn.Module):
    """Labels int64 (count,) from label int64 (1,) or (count,).

    Each value is a label, -1 for a random one, or -2 for index mod classes.
    """

    classes: Final[int]

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.words = Words()

    def forward(self, seed: int, start: int, count: int, label: torch.Tensor) -> torch.Tensor:
        outside = bool((label < -2).any()) or bool((label >= self.classes).any())
        if outside or label.dim() != 1 or (label.size(0) != 1 and label.size(0) != count):
            raise ValueError("seed, start, count or label is_out_of_range")
        index = torch.arange(count, dtype=torch.int64, device=label.device) + start
        return self.chosen(seed, index, label.expand_as(index))

    def chosen(self, seed: int, index: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Return the labels of images `index` (N,) by `label` (N,), unchecked."""
        block = torch.zeros(1, dtype=torch.int64, device=label.device)
        random = (self.words(seed, index, block, 1)[:, 0, 0] * self.classes) >> 32
        each = torch.where(label == -1, random, label)
        return torch.where(label == -2, index % self.classes, each)


class Sampler(nn.Module):
    """A sampler: forward(seed, start, count) returns uint8 (count, H, W, C)."""

    def __init__(self, of: LatentImage, generator: nn.Module) -> None:
        super().__init__()
        self.latents = Latents(of)
        self.generator = generator

    def forward(self, seed: int, start: int, count: int) -> torch.Tensor:
        images: torch.Tensor = self.generator(self.latents(seed, start, count))
        return images


class LabeledSampler(nn.Module):
    """A sampler with labels: forward(seed, start, count, label) returns uint8 (count, H, W, C).

    `label` is that of `Labels`.
    """

    def __init__(self, of: LatentImage, generator: nn.Module) -> None:
        super().__init__()
        self.latents = Latents(of)
        self.labels = Labels(of.classes)
        self.generator = generator

    def forward(self, seed: int, start: int, count: int, label: torch.Tensor) -> torch.Tensor:
        z = self.latents(seed, start, count)
        images: torch.Tensor = self.generator(z, self.labels(seed, start, count, label.to(z.device)))
        return images


def sampler(of: LatentImage, generator: nn.Module) -> nn.Module:
    """Return the sampler of a `generator` that returns bytes.

    Seeds are 0 .. 2^63-1, start and count up to 2^62; others raise.
    """
    return LabeledSampler(of, generator) if of.classes else Sampler(of, generator)
