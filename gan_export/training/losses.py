"""What the two nets minimise, from the discriminator's scores.

A loss is one object with both sides; `LOSSES` is the registry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_export.training import recipe


class Loss(Protocol):
    """Scores are logits (N,), float32.  `paired`: the generator's side reads real pictures' scores too."""

    @property
    def paired(self) -> bool: ...

    def discriminator(self, generated: Tensor, real: Tensor) -> Tensor:
        """A scalar to minimise over the discriminator's weights."""
        ...

    def generator(self, generated: Tensor, real: Tensor | None = None) -> Tensor:
        """A scalar to minimise over the generator's weights; `real` where `paired`."""
        ...

    def score(self, logits: Tensor) -> Tensor:
        """The mean of what is logged as the discriminator's opinion."""
        ...

    def decided(self, generated: float, real: float, loss: float) -> bool:
        """Whether scores and loss this far apart leave the generator without a gradient worth having."""
        ...


@dataclass(frozen=True)
class Bce:
    """The classic: binary cross-entropy on a sigmoid; the discriminator's is the mean of its two.

    The sigmoid is taken apart from the logarithm, as the classic code does; where it saturates, the gradient
    is the classic one too (Goodfellow et al. 2014, the non-saturating generator loss).
    """

    smooth: float = 0.0  # real pictures are to score 1 - smooth (Salimans et al. 2016)
    paired = False

    def discriminator(self, generated: Tensor, real: Tensor) -> Tensor:
        return (_bce(generated, 0.0) + _bce(real, 1.0 - self.smooth)) / 2

    def generator(self, generated: Tensor, real: Tensor | None = None) -> Tensor:
        return _bce(generated, 1.0)

    def score(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits).mean()

    def decided(self, generated: float, real: float, loss: float) -> bool:
        return generated < 1e-3 and real > 1 - 1e-3


class Hinge:
    """Hinge (Lim & Ye 2017; Miyato et al. 2018)."""

    paired = False

    def discriminator(self, generated: Tensor, real: Tensor) -> Tensor:
        return F.relu(1 + generated).mean() + F.relu(1 - real).mean()

    def generator(self, generated: Tensor, real: Tensor | None = None) -> Tensor:
        return -generated.mean()

    def score(self, logits: Tensor) -> Tensor:
        return logits.mean()

    def decided(self, generated: float, real: float, loss: float) -> bool:
        return loss < 1e-3


@dataclass(frozen=True)
class NonSaturating:
    """Goodfellow's on the logits themselves, so that no saturation loses a gradient; the sum of both sides."""

    smooth: float = 0.0
    paired = False

    def discriminator(self, generated: Tensor, real: Tensor) -> Tensor:
        on_real = F.softplus(-real).mean()
        if self.smooth:
            on_real = (1 - self.smooth) * on_real + self.smooth * F.softplus(real).mean()
        return F.softplus(generated).mean() + on_real

    def generator(self, generated: Tensor, real: Tensor | None = None) -> Tensor:
        return F.softplus(-generated).mean()

    def score(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits).mean()

    def decided(self, generated: float, real: float, loss: float) -> bool:
        return generated < 1e-3 and real > 1 - 1e-3


class Wasserstein:
    """The difference of mean scores (Arjovsky et al. 2017); needs a gradient penalty or spectral norm beside it."""

    paired = False

    def discriminator(self, generated: Tensor, real: Tensor) -> Tensor:
        return generated.mean() - real.mean()

    def generator(self, generated: Tensor, real: Tensor | None = None) -> Tensor:
        return -generated.mean()

    def score(self, logits: Tensor) -> Tensor:
        return logits.mean()

    def decided(self, generated: float, real: float, loss: float) -> bool:
        return False  # scores may lie as far apart as they like


class Relativistic:
    """Each real picture is to score over the generated one beside it (Jolicoeur-Martineau 2018; R3GAN, 2024)."""

    paired = True

    def discriminator(self, generated: Tensor, real: Tensor) -> Tensor:
        return F.softplus(generated - real).mean()

    def generator(self, generated: Tensor, real: Tensor | None = None) -> Tensor:
        assert real is not None
        return F.softplus(real - generated).mean()

    def score(self, logits: Tensor) -> Tensor:
        return logits.mean()

    def decided(self, generated: float, real: float, loss: float) -> bool:
        return loss < 1e-3


LOSSES: tuple[tuple[str, Loss], ...] = (
    ("bce", Bce()),
    ("hinge", Hinge()),
    ("non-saturating", NonSaturating()),
    ("wasserstein", Wasserstein()),
    ("relativistic", Relativistic()),
)


def by_name(name: str) -> Loss:
    """The loss that a recipe's loss.kind names, without smoothing."""
    return dict(LOSSES)[name]


def of(settings: recipe.Loss) -> Loss:
    """The loss of a recipe."""
    loss = by_name(settings.kind)
    return type(loss)(settings.smooth) if isinstance(loss, Bce | NonSaturating) else loss


def _bce(logits: Tensor, target: float) -> Tensor:
    chance = torch.sigmoid(logits)
    # torch refuses a NaN here, on a GPU for good; it must reach the loss, where the run notices it
    loss = F.binary_cross_entropy(chance.nan_to_num(0.5), torch.full_like(logits, target))
    return loss + 0.0 * chance.sum()
