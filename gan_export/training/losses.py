"""What the two nets minimise, from the discriminator's scores.

A loss is one object with both sides; `LOSSES` is the registry.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class Loss(Protocol):
    """Scores are logits (N,), float32."""

    def discriminator(self, generated: Tensor, real: Tensor) -> Tensor:
        """A scalar to minimise over the discriminator's weights."""
        ...

    def generator(self, generated: Tensor) -> Tensor:
        """A scalar to minimise over the generator's weights."""
        ...

    def score(self, logits: Tensor) -> Tensor:
        """The mean of what is logged as the discriminator's opinion."""
        ...

    def decided(self, generated: float, real: float, loss: float) -> bool:
        """Whether scores and loss this far apart leave the generator without a gradient worth having."""
        ...


class Bce:
    """The classic: binary cross-entropy on a sigmoid; the discriminator's is the mean of its two.

    The sigmoid is taken apart from the logarithm, as the classic code does; where it saturates, the gradient
    is the classic one too (Goodfellow et al. 2014, the non-saturating generator loss).
    """

    def discriminator(self, generated: Tensor, real: Tensor) -> Tensor:
        return (_bce(generated, 0.0) + _bce(real, 1.0)) / 2

    def generator(self, generated: Tensor) -> Tensor:
        return _bce(generated, 1.0)

    def score(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits).mean()

    def decided(self, generated: float, real: float, loss: float) -> bool:
        return generated < 1e-3 and real > 1 - 1e-3


class Hinge:
    """Hinge (Lim & Ye 2017; Miyato et al. 2018)."""

    def discriminator(self, generated: Tensor, real: Tensor) -> Tensor:
        return F.relu(1 + generated).mean() + F.relu(1 - real).mean()

    def generator(self, generated: Tensor) -> Tensor:
        return -generated.mean()

    def score(self, logits: Tensor) -> Tensor:
        return logits.mean()

    def decided(self, generated: float, real: float, loss: float) -> bool:
        return loss < 1e-3


LOSSES: tuple[tuple[str, Loss], ...] = (("bce", Bce()), ("hinge", Hinge()))


def by_name(name: str) -> Loss:
    """The loss that a recipe's loss.kind names."""
    return dict(LOSSES)[name]


def _bce(logits: Tensor, target: float) -> Tensor:
    chance = torch.sigmoid(logits)
    # torch refuses a NaN here, on a GPU for good; it must reach the loss, where the run notices it
    loss = F.binary_cross_entropy(chance.nan_to_num(0.5), torch.full_like(logits, target))
    return loss + 0.0 * chance.sum()
