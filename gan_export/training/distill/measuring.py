"""Measure a student: how near its images are to its teacher's, and both to real ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from gan_export import images
from gan_export.errors import GanExportError
from gan_export.metrics import comparison, distances, evaluators, reference
from gan_export.metrics.distances import Bytes
from gan_export.metrics.evaluators import Evaluator, Measures
from gan_export.metrics.reference import Measured
from gan_export.training import recipe as recipes
from gan_export.training.data import DataSource, open_source
from gan_export.training.distill.network import Network
from gan_export.training.distill.recipe import Distilling
from gan_export.training.distill.state import State

SEED = 1  # of the measured images; previews use seed 0
MOST_REAL = 10_000
_BLOCK = 256
Figures = dict[str, object]


class Meter:
    """A state's teacher, an evaluator if one reads its images, and real images if there are any.

    Raises GanExportError if the recipe names an evaluator that there is not or that doesn't read such images, and for
    real images that can't be read.
    """

    def __init__(self, recipe: Distilling, shape: tuple[int, ...], data_root: Path | None) -> None:
        self._shape = (shape[0], shape[1], shape[2])
        self._evaluator = _evaluator(recipe.output.metrics_features, self._shape)
        self._source: DataSource | None = None
        if recipe.data.source:
            if shape[1] != shape[2]:
                raise GanExportError(f"data.source takes square images; the teacher's are {shape[1]}x{shape[2]}")
            data = recipes.Data(recipe.data.source, recipe.data.path, shape[1], shape[0])
            self._source = open_source(data, data_root)
        self._real: Measured | None = None

    def figures(self, state: State, student: Network, count: int) -> dict[str, Figures]:
        """Return figures of `count` images of the same latents: {"teacher": ..., "student": ...}.

        The student's has psnr, in dB, of its bytes against the teacher's (None if all are equal).  With an evaluator,
        it has frechet_to_teacher, and both have what the evaluator states of images against real ones, if there are
        any: the evaluator's own, else those of data.source.
        """
        ours, theirs = [], []
        squares = 0.0
        for mine, its in self._pairs(state, student, count):
            squares += float(np.square(mine.astype(np.float64) - its).sum())
            ours.append(mine)
            theirs.append(its)
        mean = squares / (count * math.prod(self._shape))
        found: dict[str, Figures] = {"teacher": {}, "student": {"psnr": _psnr(mean)}}
        if self._evaluator is None:
            return found
        measured = {"student": self._measure(ours), "teacher": self._measure(theirs)}
        apart = distances.frechet(measured["student"].gaussian, measured["teacher"].gaussian)
        found["student"]["frechet_to_teacher"] = apart
        if isinstance(self._evaluator, Measures):
            for name, drawn in (("teacher", theirs), ("student", ours)):
                found[name] |= self._evaluator.evaluate(np.concatenate(drawn)).to_json()
        elif self._source is not None:
            if self._real is None:
                self._real = reference.measure(self._training(self._source), self._evaluator)
            for name, held in measured.items():
                found[name] |= comparison.between(self._evaluator.name, held, self._real).to_json()
        return found

    def _measure(self, blocks: list[Bytes]) -> Measured:
        assert self._evaluator is not None
        return reference.measure(iter(blocks), self._evaluator)

    def _pairs(self, state: State, student: Network, count: int) -> Iterator[tuple[Bytes, Bytes]]:
        for first in range(0, count, _BLOCK):
            feeds = state.feeds(SEED, first, min(_BLOCK, count - first))
            yield draw(student, feeds), draw(state.teacher, feeds)

    def _training(self, source: DataSource) -> Iterator[Bytes]:
        for first in range(0, min(len(source), MOST_REAL), _BLOCK):
            chosen = np.arange(first, min(first + _BLOCK, len(source), MOST_REAL))
            yield source.read(chosen).transpose(0, 2, 3, 1)


@torch.no_grad()
def draw(net: Network, feeds: dict[str, torch.Tensor]) -> Bytes:
    """Return the images of an eval-mode network, uint8 (N, H, W, C)."""
    return images.to_bytes(net.image(feeds).float().contiguous().cpu().numpy())


def _evaluator(name: str, shape: tuple[int, int, int]) -> Evaluator | None:
    found = evaluators.find("digits" if name == "auto" else name)
    try:
        found.check(shape)
    except GanExportError:
        if name == "auto":
            return None
        raise
    return found


def _psnr(mean: float) -> float | None:
    return 10 * math.log10(255**2 / mean) if mean > 0 else None
