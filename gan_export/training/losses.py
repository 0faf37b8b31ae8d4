"""The losses of both networks, from the discriminator's scores.

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
    """Scores are logits (N,), float32.  `paired`: the generator's loss also uses the scores of real images."""

    @property
    def paired(self) -> bool: ...

    def discriminator(self, generated: Tensor, real: Tensor) -> Tensor:
        """Return a scalar to minimize over the discriminator's weights."""
        ...

    def generator(self, generated: Tensor, real: Tensor | None = None) -> Tensor:
        """Return a scalar to minimize over the generator's weights; `real` is used if `paired`."""
        ...

    def score(self, logits: Tensor) -> Tensor:
        """Return the mean score that is logged."""
        ...

    def decided(self, generated: float, real: float, loss: float) -> bool:
        """Return whether the discriminator is saturated, so that the generator has almost no gradient."""
        ...


@dataclass(frozen=True)
class Bce:
    """The classic loss: binary cross-entropy of a sigmoid; the discriminator's is the mean of two terms.

    The sigmoid is computed separately from the logarithm, as in the classic code, so that the gradient is the same when
    it saturates (Goodfellow et al. 2014, the non-saturating generator loss).
    """

    smooth: float = 0.0  # the target of real images is 1 - smooth (Salimans et al. 2016)
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
    """Goodfellow's loss on the logits, so that saturation loses no gradient; the sum of both terms."""

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
    """The difference of mean scores (Arjovsky et al. 2017); needs a gradient penalty or spectral norm."""

    paired = False

    def discriminator(self, generated: Tensor, real: Tensor) -> Tensor:
        return generated.mean() - real.mean()

    def generator(self, generated: Tensor, real: Tensor | None = None) -> Tensor:
        return -generated.mean()

    def score(self, logits: Tensor) -> Tensor:
        return logits.mean()

    def decided(self, generated: float, real: float, loss: float) -> bool:
        return False  # scores are not bounded


class Relativistic:
    """The score of each real image relative to a generated one (Jolicoeur-Martineau 2018; R3GAN, 2024)."""

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
    """Return the loss for a recipe's loss.kind, without smoothing."""
    return dict(LOSSES)[name]


def of(settings: recipe.Loss) -> Loss:
    """Return the loss of a recipe."""
    loss = by_name(settings.kind)
    return type(loss)(settings.smooth) if isinstance(loss, Bce | NonSaturating) else loss


def _bce(logits: Tensor, target: float) -> Tensor:
    chance = torch.sigmoid(logits)
    # torch raises for a NaN here, fatally on a GPU; it must reach the loss, so that the run detects it
    loss = F.binary_cross_entropy(chance.nan_to_num(0.5), torch.full_like(logits, target))
    return loss + 0.0 * chance.sum()
