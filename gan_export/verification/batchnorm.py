"""Compare stored BatchNorm statistics with those of latents from the prior.

Many training scripts generate their previews in train mode, with the statistics of each batch.  An export uses
evaluation mode with the running statistics, and if these are wrong, its images differ from the previews.  This module
compares the two and, on request, estimates the running statistics again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gan_export.errors import GanExportError
from gan_export.graph import statistics, walk
from gan_export.graph.views import takes_image

if TYPE_CHECKING:
    from gan_export.checkpoint import Checkpoint

Doubles = npt.NDArray[np.float64]

LIMIT = 0.25  # nats per channel: a mean off by 0.7 standard deviations, or a variance off by a factor of 2.5


@dataclass(frozen=True, slots=True)
class NormHealth:
    """The distance of one BatchNorm's stored statistics from those of latents from the prior.

    divergence: mean over channels of the Kullback-Leibler divergence of two normal distributions, in nats
    """

    layer: str
    divergence: float
    finite: bool

    @property
    def fits(self) -> bool:
        """Whether an export generates about the same images as train mode."""
        return self.finite and self.divergence <= LIMIT


def check(checkpoint: Checkpoint) -> tuple[NormHealth, ...]:
    """Check each BatchNorm of the generator in one pass.  BatchNorms behind a very large layer are left out.

    Of a generator that takes images none is checked: no prior gives images like those that it was trained on.
    """
    if takes_image(checkpoint.signature):
        return ()
    result = []
    for name, found in walk.stored_moments(checkpoint.spec, checkpoint.weights):
        stored_mean, stored_var = _stored(checkpoint, name)
        finite = bool(np.isfinite(stored_mean).all() and np.isfinite(stored_var).all() and (stored_var >= 0).all())
        stored = statistics.Moments(stored_mean, stored_var)
        divergence = statistics.divergence(found, stored) if finite else math.inf
        result.append(NormHealth(name, divergence, finite))
    return tuple(result)


def warning(norms: tuple[NormHealth, ...], open_choices: tuple[str, ...] = ()) -> str | None:
    """Return a line for the user if the statistics of a BatchNorm don't fit, or None.

    open_choices: the options of unsettled choices, of which a wrong one would have the same effect
    """
    off = [norm for norm in norms if not norm.fits]
    if not off:
        return None
    worst = max(off, key=lambda n: n.divergence)
    line = (
        f"the stored BatchNorm statistics differ from those of generated latents ({len(off)} of {len(norms)} layers, "
        f"most in {worst.layer}): images will differ from previews generated in train mode; "
        "recalibrate=1024 estimates them again"
    )
    if open_choices:
        line += f", but first make sure of {', '.join(open_choices)}: a wrong value has the same effect"
    return line


def refuse_unusable(checkpoint: Checkpoint) -> None:
    """Raise GanExportError for statistics that are not finite, or variances below zero."""
    for norm in statistics.norms(checkpoint.spec):
        mean, var = _stored(checkpoint, norm.name)
        if not (np.isfinite(mean).all() and np.isfinite(var).all() and (var >= 0).all()):
            instead = "norm=image doesn't use" if takes_image(checkpoint.signature) else "recalibrate=1024 estimates"
            raise GanExportError(f"{norm.name}: its running statistics are NaN, infinite or negative; {instead} them")


def recalibrated(checkpoint: Checkpoint, count: int) -> Checkpoint:
    """Return the checkpoint with every BatchNorm's running statistics estimated from `count` latents of the prior.

    Layers are estimated in order, each with the new statistics of the earlier ones; population variance, summed in
    float64.  Deterministic.
    """
    if takes_image(checkpoint.signature):
        raise GanExportError(
            "recalibrate=: the statistics come from latents, and this generator takes images; leave it out, or take "
            "each image's own with norm=image"
        )
    if count < 2:
        raise GanExportError(f"recalibrate={count}: must be at least 2")
    weights = dict(checkpoint.weights)
    for name, found in statistics.estimated(checkpoint.spec, checkpoint.weights, count):
        weights[f"{name}.running_mean"] = found.mean.astype(np.float32)
        weights[f"{name}.running_var"] = found.var.astype(np.float32)
    return replace(checkpoint, weights=weights)


def _stored(checkpoint: Checkpoint, norm: str) -> tuple[Doubles, Doubles]:
    mean = checkpoint.weights[f"{norm}.running_mean"].astype(np.float64)
    return mean, checkpoint.weights[f"{norm}.running_var"].astype(np.float64)
