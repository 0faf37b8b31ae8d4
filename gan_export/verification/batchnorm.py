"""Do BatchNorm's stored statistics fit what prior latents give?

Many training scripts draw their previews in train mode, with each batch's own statistics.  An export draws in
evaluation mode, with the running ones, and where those are off the pictures differ from the previews.  Here the
two are compared and, on request, the running ones are estimated anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gan_export.errors import GanExportError
from gan_export.graph import statistics
from gan_export.graph.layers import BatchNorm

if TYPE_CHECKING:
    from gan_export.checkpoint import Checkpoint

Doubles = npt.NDArray[np.float64]

LIMIT = 0.25  # nats a channel: a mean off by 0.7 standard deviations, or a variance off by a factor of 2.5


@dataclass(frozen=True, slots=True)
class NormHealth:
    """One BatchNorm: how far its stored statistics lie from those of prior latents.

    divergence: mean over channels of the Kullback-Leibler divergence of two normal distributions, in nats
    """

    layer: str
    divergence: float
    finite: bool

    @property
    def fits(self) -> bool:
        """Whether an export will draw about what train mode draws."""
        return self.finite and self.divergence <= LIMIT


def check(checkpoint: Checkpoint, count: int | None = None) -> tuple[NormHealth, ...]:
    """Judge each BatchNorm of the generator on `count` prior latents, or as many as are enough, in one pass."""
    found = statistics.moments(checkpoint.spec, checkpoint.weights, count or statistics.enough(checkpoint.spec))
    result = []
    for norm in statistics.norms(checkpoint.spec):
        stored_mean, stored_var = _stored(checkpoint, norm)
        finite = bool(np.isfinite(stored_mean).all() and np.isfinite(stored_var).all() and (stored_var >= 0).all())
        moments = found[norm.name]
        divergence = _divergence(moments.mean, moments.var, stored_mean, stored_var, norm.eps) if finite else math.inf
        result.append(NormHealth(norm.name, divergence, finite))
    return tuple(result)


def warning(norms: tuple[NormHealth, ...]) -> str | None:
    """One line for a user where any BatchNorm is off; None where all fit."""
    off = [norm for norm in norms if not norm.fits]
    if not off:
        return None
    worst = max(off, key=lambda n: n.divergence)
    return (
        f"BatchNorm's stored statistics are not those that latents give ({len(off)} of {len(norms)} layers, "
        f"{worst.layer} most): pictures will differ from previews drawn in train mode; "
        "--recalibrate 1024 estimates them anew"
    )


def refuse_unusable(checkpoint: Checkpoint) -> None:
    """Raises GanExportError for statistics that are not finite, or variances below zero."""
    for norm in statistics.norms(checkpoint.spec):
        mean, var = _stored(checkpoint, norm)
        if not (np.isfinite(mean).all() and np.isfinite(var).all() and (var >= 0).all()):
            raise GanExportError(
                f"{norm.name}: its running statistics are NaN, infinite or negative; --recalibrate 1024 estimates them"
            )


def recalibrated(checkpoint: Checkpoint, count: int) -> Checkpoint:
    """The checkpoint with every BatchNorm's running statistics estimated from `count` prior latents.

    Layer by layer, each after those before it; population variance; summed in float64.  Deterministic.
    """
    if count < 2:
        raise GanExportError(f"--recalibrate {count}: at least 2 latents are needed")
    weights = dict(checkpoint.weights)
    for name, found in statistics.estimated(checkpoint.spec, checkpoint.weights, count):
        weights[f"{name}.running_mean"] = found.mean.astype(np.float32)
        weights[f"{name}.running_var"] = found.var.astype(np.float32)
    return replace(checkpoint, weights=weights)


def _stored(checkpoint: Checkpoint, norm: BatchNorm) -> tuple[Doubles, Doubles]:
    mean = checkpoint.weights[f"{norm.name}.running_mean"].astype(np.float64)
    return mean, checkpoint.weights[f"{norm.name}.running_var"].astype(np.float64)


def _divergence(mean: Doubles, var: Doubles, stored_mean: Doubles, stored_var: Doubles, eps: float) -> float:
    """KL of N(mean, var) from N(stored_mean, stored_var), each variance with eps, averaged over the channels."""
    ratio = (var + eps) / (stored_var + eps)
    shift = (mean - stored_mean) ** 2 / (stored_var + eps)
    return float(np.mean(0.5 * (ratio + shift - 1.0 - np.log(ratio))))
