"""How far one set of images is from another, by their features: arrays in, figures out.

Features come from an evaluator (`gan_export.metrics.evaluators`): compare distances of one evaluator with each other
and with its floor (real images against real ones), never with another network's.

Sources: Frechet distance, Heusel et al. 2017; precision and recall, Kynkaanniemi et al. 2019, k = 3; coverage,
Naeem et al. 2020, k = 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

NEIGHBOURS = 2500  # pictures on each side of precision, recall and coverage
_MANIFOLD_K, _COVERAGE_K = 3, 5


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Mean (F,) and covariance (F, F) of features."""

    mean: Doubles
    covariance: Doubles

    @staticmethod
    def of(features: Floats) -> Gaussian:
        """Of features (N, F), N at least 2."""
        wide = features.astype(np.float64)
        return Gaussian(wide.mean(0), np.cov(wide, rowvar=False))


@dataclass(frozen=True, slots=True)
class Distances:
    """How far one set of images is from real ones."""

    frechet: float
    precision: float  # share of the pictures that lie among the real ones
    recall: float  # share of the real ones that lie among the pictures
    coverage: float  # share of the real ones with a picture nearer than their 5th real neighbour


def distances(features: Floats, test: Gaussian, neighbours: Floats) -> Distances:
    """Of features (N, F) from real ones; the neighbourhoods are of the first NEIGHBOURS of each."""
    precision, recall, coverage = precision_recall_coverage(features[: len(neighbours)], neighbours)
    return Distances(frechet(Gaussian.of(features), test), precision, recall, coverage)


def frechet(a: Gaussian, b: Gaussian) -> float:
    """|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)); 0 for equal Gaussians, else positive up to rounding."""
    values, vectors = np.linalg.eigh(a.covariance)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    between = np.sqrt(np.clip(np.linalg.eigvalsh(root @ b.covariance @ root), 0, None)).sum()
    apart = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance) + np.trace(b.covariance)
    return float(apart - 2 * between)


def precision_recall_coverage(generated: Floats, real: Floats) -> tuple[float, float, float]:
    """Precision, recall and coverage of features (N, F) and (M, F), each N and M over 5."""
    between = _squared(generated, real)
    among_real, among_generated = _squared(real, real), _squared(generated, generated)
    ball_real = np.partition(among_real, _MANIFOLD_K, axis=1)[:, _MANIFOLD_K]  # the 0th is the point itself
    ball_generated = np.partition(among_generated, _MANIFOLD_K, axis=1)[:, _MANIFOLD_K]
    wide_real = np.partition(among_real, _COVERAGE_K, axis=1)[:, _COVERAGE_K]
    return (
        float((between <= ball_real[None]).any(1).mean()),
        float((between <= ball_generated[:, None]).any(0).mean()),
        float((between.min(0) <= wide_real).mean()),
    )


def _squared(a: Floats, b: Floats) -> Floats:
    """Squared distances (len(a), len(b))."""
    product = a @ b.T
    apart: Floats = np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * product, 0)
    return apart


def nearest(pictures: Bytes, known: Bytes) -> tuple[npt.NDArray[np.int64], Doubles]:
    """For each of `pictures` (N, ...) the index of the nearest of `known` (M, ...), and its distance.

    The distance is the root mean square over the pixels, in bytes: 0 for a copy.
    """
    flat = pictures.reshape(len(pictures), -1).astype(np.float32)
    best = np.full(len(flat), np.inf, np.float32)
    where = np.zeros(len(flat), np.int64)
    for first in range(0, len(known), 4096):
        piece = known[first : first + 4096].reshape(-1, flat.shape[1]).astype(np.float32)
        apart = _squared(flat, piece)
        at = apart.argmin(1)
        values = apart[np.arange(len(flat)), at]
        closer = values < best
        where[closer], best[closer] = first + at[closer], values[closer]
    exact = ((flat - known[where].reshape(flat.shape)) ** 2).mean(1)  # without the rounding of the expanded square
    return where, np.sqrt(exact.astype(np.float64))
