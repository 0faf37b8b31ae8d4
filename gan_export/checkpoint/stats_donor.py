"""Add the statistics of the averaged generator to averaged weights that were saved without buffers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from gan_export._lib.budget import Budget, BudgetError
from gan_export.checkpoint import keys
from gan_export.checkpoint.containers.tensors import Tensor
from gan_export.checkpoint.state_dicts import Candidate
from gan_export.errors import GanExportError

_STATISTICS = ("running_mean", "running_var")


class Lenders:
    """Finds the candidate whose statistics another one lacks; each candidate's keys are examined once."""

    def __init__(self, candidates: Iterable[Candidate], budget: Budget) -> None:
        self._candidates = tuple(candidates)
        self._budget = budget
        self._known: dict[int, dict[str, Tensor]] = {}

    def of(self, candidate: Candidate) -> Candidate | None:
        """Return the candidate whose BatchNorm statistics `candidate` lacks; None if it lacks none, or if none fit.

        It has every key of `candidate` in the same shape, and beyond them only statistics.
        """
        if candidate.role != "ema" or candidate.module is not None:
            return None
        mine = self._weights(candidate)
        self._budget.spend(len(mine))
        if not mine or any(_is_statistic(k) for k in mine):
            return None
        for other in self._candidates:
            if other is candidate or other.role in ("ema", "discriminator"):
                continue
            theirs = self._weights(other)
            self._budget.spend(len(theirs))
            if len(theirs) <= len(mine) or any(k not in theirs or theirs[k].shape != t.shape for k, t in mine.items()):
                continue
            if all(_is_statistic(k) for k in theirs if k not in mine):
                return other
        return None

    def completed(self, candidate: Candidate, lender: Candidate) -> Candidate:
        """Return the candidate with the lender's statistics, in the lender's order, with keys without wrappers."""
        return dataclasses.replace(candidate, tensors=self._weights(lender) | self._weights(candidate))

    def _weights(self, candidate: Candidate) -> dict[str, Tensor]:
        known = self._known.get(id(candidate))
        if known is None:
            try:
                kept = {k: t for k, t in candidate.tensors.items() if not keys.is_counter(k)}
                known = keys.normalize(kept, self._budget)
            except BudgetError:
                raise
            except GanExportError:  # two keys of the same parameter
                known = {}
            self._known[id(candidate)] = known
        return known


def _is_statistic(key: str) -> bool:
    return key.rpartition(".")[2] in _STATISTICS
