"""Conditional generators in the forms that DCGANs commonly take: forward(z, label)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_export.recognize import ReadOptions
from tests.originals.common import Original
from tests.originals.flat import ladder
from tests.originals.named import aladdinpersson, coursera
from tests.originals.projected import Lightning, ResizeConv

CLASSES = 10


class EmbeddingBeside(nn.Module):
    """The label's embedding joined to z, before the first transposed convolution (aladdinpersson's, torchgan's)."""

    def __init__(self, width: int, dim: int, order: Literal["after", "before"] = "after") -> None:
        super().__init__()
        self.order = order
        self.main = ladder(100 + dim, [width * 4, width * 2, width, 1])
        self.embed = nn.Embedding(CLASSES, dim)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        e = self.embed(label)[:, :, None, None]
        out: Tensor = self.main(torch.cat([z, e] if self.order == "after" else [e, z], 1))
        return out


class NetEmbedding(nn.Module):
    """aladdinpersson's conditional WGAN-GP: blocks under `net`, the embedding under `embed`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = aladdinpersson(width).net
        self.net[0][0] = nn.ConvTranspose2d(200, width * 16, 4, 1, 0, bias=False)
        self.embed = nn.Embedding(CLASSES, 100)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        out: Tensor = self.net(torch.cat([z, self.embed(label)[:, :, None, None]], 1))
        return out


class EmbeddingTimes(ResizeConv):
    """eriklindernoren's acgan: the embedding multiplies z."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.label_emb = nn.Embedding(CLASSES, 100)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(self.label_emb(label) * z)


class OneHotBeside(nn.Module):
    """The label one-hot beside z: nothing in the file says so."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.main = ladder(100 + CLASSES, [width * 4, width * 2, width, 1])

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        out: Tensor = self.main(torch.cat([z, F.one_hot(label, CLASSES).float()[:, :, None, None]], 1))
        return out


class OneHotCoursera(nn.Module):
    """Coursera's conditional GAN."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gen = coursera(width, 64 + CLASSES).gen

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        x = torch.cat([z, F.one_hot(label, CLASSES).float()], 1)
        out: Tensor = self.gen(x[:, :, None, None])
        return out


class LabelFirst(nn.Module):
    """eriklindernoren's cgan: the embedding stands before z."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.label_emb = nn.Embedding(CLASSES, CLASSES)
        self.model = Lightning(width).model
        self.model[0] = nn.Linear(100 + CLASSES, width)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        out: Tensor = self.model(torch.cat([self.label_emb(label), z], 1))
        return out.view(-1, 1, 28, 28)


ROWS: tuple[Original, ...] = (
    Original("embedding-after", lambda w: EmbeddingBeside(w, 50), 64, 10, 100, (1, 32, 32), classes=CLASSES),
    Original("embedding-before", lambda w: EmbeddingBeside(w, 50, "before"), 64, 10, 100, (1, 32, 32),
             classes=CLASSES, overrides=ReadOptions(label_order="before")),
    Original("embedding-blocks", NetEmbedding, 16, 8, 100, (3, 64, 64), classes=CLASSES),
    Original("embedding-times", EmbeddingTimes, 64, 10, 100, (1, 32, 32), latent="vector", classes=CLASSES),
    Original("one-hot", OneHotBeside, 64, 10, 100, (1, 32, 32), classes=CLASSES,
    overrides=ReadOptions(classes=CLASSES)),
    Original("one-hot-coursera", OneHotCoursera, 64, 10, 64, (1, 28, 28), latent="vector", classes=CLASSES,
             overrides=ReadOptions(classes=CLASSES)),
    Original("cgan-mlp", LabelFirst, 128, 40, 100, (1, 28, 28), latent="vector", classes=CLASSES),
)  # fmt: skip
