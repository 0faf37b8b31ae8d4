"""Averaged weights that were saved as parameters alone, with the statistics of the generator that they average."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from gan_export.checkpoint import keys
from gan_export.checkpoint.candidates import Candidate
from gan_export.checkpoint.values import Tensor
from gan_export.errors import GanExportError

_STATISTICS = ("running_mean", "running_var")


def lender(candidate: Candidate, candidates: Iterable[Candidate]) -> Candidate | None:
    """Whose BatchNorm statistics averaged weights lack; None where they lack none, or nobody's fit.

    It holds every key of `candidate` in the same shape, and statistics beside them, and nothing else.
    """
    if candidate.role != "ema" or candidate.module is not None:
        return None
    mine = _weights(candidate)
    if not mine or any(_is_statistic(k) for k in mine):
        return None
    for other in candidates:
        if other is candidate or other.role in ("ema", "discriminator"):
            continue
        theirs = _weights(other)
        if len(theirs) <= len(mine) or any(k not in theirs or theirs[k].shape != t.shape for k, t in mine.items()):
            continue
        if all(_is_statistic(k) for k in theirs if k not in mine):
            return other
    return None


def completed(candidate: Candidate, lender: Candidate) -> Candidate:
    """The candidate with the lender's statistics, in the lender's order; its keys without wrappers."""
    return dataclasses.replace(candidate, tensors=_weights(lender) | _weights(candidate))


def _weights(candidate: Candidate) -> dict[str, Tensor]:
    try:
        return keys.normalise({k: t for k, t in candidate.tensors.items() if not keys.is_counter(k)})
    except GanExportError:  # two keys mean the same
        return {}


def _is_statistic(key: str) -> bool:
    return key.rpartition(".")[2] in _STATISTICS
