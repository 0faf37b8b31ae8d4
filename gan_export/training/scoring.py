"""Measure the images of a generator in training, by the evaluator that the recipe names."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gan_export.metrics import comparison, reference
from gan_export.metrics.distances import Bytes
from gan_export.metrics.evaluators import Evaluator, Measures, find
from gan_export.metrics.reference import Measured
from gan_export.training.data import DataSource
from gan_export.training.recipe import Output

MOST_REAL = 10_000  # training images that an evaluator without real images of its own is given
_BLOCK = 256


class Scorer:
    """An evaluator, and what it measured of the training images.

    Raises GanExportError if there is no such evaluator, or if it doesn't read images of the source's shape.
    """

    def __init__(self, output: Output, source: DataSource) -> None:
        self._evaluator: Evaluator = find(output.metrics_features)
        channels, height, width = source.shape  # a recipe of volumes measures nothing
        self._evaluator.check((channels, height, width))
        self._source = source
        self._real: Measured | None = None

    def score(self, images: Bytes, labels: np.ndarray | None) -> dict[str, object]:
        """Return the figures of images uint8 (N, H, W, C), whose labels, if any, are (N,).

        The bundled classifier of digits compares them with MNIST's test digits; every other evaluator with the first
        MOST_REAL training images.
        """
        judge = self._evaluator
        if isinstance(judge, Measures):
            return judge.evaluate(images, labels).to_json()
        if self._real is None:
            self._real = reference.measure(self._training(), judge)
        blocks = (images[i : i + _BLOCK] for i in range(0, len(images), _BLOCK))
        return comparison.between(judge.name, reference.measure(blocks, judge), self._real).to_json()

    def _training(self) -> Iterator[Bytes]:
        for first in range(0, min(len(self._source), MOST_REAL), _BLOCK):
            chosen = np.arange(first, min(first + _BLOCK, len(self._source), MOST_REAL))
            yield self._source.read(chosen).transpose(0, 2, 3, 1)
