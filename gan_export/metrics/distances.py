"""Measure the distance between two sets of images from their features.

Features come from an evaluator (`gan_export.metrics.evaluators`): compare distances of one evaluator with each other
and with its baseline (real images against real ones), never with those of another network.

Sources: Frechet distance, Heusel et al. 2017; kernel distance (KID), Binkowski et al. 2018; precision and recall,
Kynkaanniemi et al. 2019, k = 3; density and coverage, Naeem et al. 2020, k = 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

NEIGHBORS = 2500  # number of images on each side of precision, recall and coverage
_MANIFOLD_K, _COVERAGE_K = 3, 5
_SUBSETS, _SUBSET = 100, 1000  # of the kernel distance: number of subsets, and images on each side of one


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Mean (F,) and covariance (F, F) of features."""

    mean: Doubles
    covariance: Doubles

    @staticmethod
    def of(features: Floats) -> Gaussian:
        """Return the Gaussian of features (N, F), N at least 2."""
        wide = features.astype(np.float64)
        return Gaussian(wide.mean(0), np.cov(wide, rowvar=False))


@dataclass(frozen=True, slots=True)
class Distances:
    """The distances of one set of images from real ones."""

    frechet: float
    precision: float  # share of the images that lie among the real ones
    recall: float  # share of the real images that lie among the generated ones
    coverage: float  # share of the real images with a generated one nearer than their 5th real neighbor


def distances(features: Floats, test: Gaussian, neighbors: Floats) -> Distances:
    """Return the distances of features (N, F) from real ones; neighborhoods use the first NEIGHBORS of each."""
    precision, recall, coverage = precision_recall_coverage(features[: len(neighbors)], neighbors)
    return Distances(frechet(Gaussian.of(features), test), precision, recall, coverage)


def frechet(a: Gaussian, b: Gaussian) -> float:
    """Return |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)), which is 0 for equal Gaussians, up to rounding."""
    values, vectors = np.linalg.eigh(a.covariance)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    between = np.sqrt(np.clip(np.linalg.eigvalsh(root @ b.covariance @ root), 0, None)).sum()
    apart = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance) + np.trace(b.covariance)
    return float(apart - 2 * between)


class Sums:
    """The running sums of features (N, F), from which their Gaussian follows without all features in memory."""

    def __init__(self) -> None:
        self.count = 0
        self._first: Doubles | None = None  # the mean of the first block: sums around it lose no digits
        self._sum: Any = 0.0
        self._products: Any = 0.0

    def add(self, features: Floats) -> None:
        """Add a block of features (n, F)."""
        wide = features.astype(np.float64)
        if self._first is None:
            self._first = wide.mean(0)
        wide -= self._first
        self.count += len(wide)
        self._sum = self._sum + wide.sum(0)
        self._products = self._products + wide.T @ wide

    def gaussian(self) -> Gaussian:
        """Return the Gaussian of all features; at least 2 must have been added."""
        assert self._first is not None
        mean = self._sum / self.count
        covariance = (self._products - self.count * np.outer(mean, mean)) / (self.count - 1)
        return Gaussian(self._first + mean, np.atleast_2d(covariance))


def kernel_distance(a: Floats, b: Floats) -> tuple[float, float]:
    """Return the mean and standard deviation of the kernel distance of features (N, F) and (M, F) over 100 subsets.

    Squared maximum mean discrepancy, unbiased, with the kernel (x y / F + 1)^3.  A subset has 1,000 features of each
    side, or all of the smaller side if it has fewer; subsets are chosen by a fixed seed.
    """
    size = min(_SUBSET, len(a), len(b))
    random = np.random.default_rng(0)
    mine, theirs = (_subsets(random, len(side), size) for side in (a, b))
    same = _within(_kernel(a, a), mine) + _within(_kernel(b, b), theirs)
    found = same / (size * (size - 1)) - 2 * (mine @ _kernel(a, b) * theirs).sum(1) / size**2
    return float(found.mean()), float(found.std())


def _subsets(random: np.random.Generator, count: int, size: int) -> Doubles:
    """Return _SUBSETS subsets as rows, 1 for a member and 0 for others: (_SUBSETS, count)."""
    found = np.zeros((_SUBSETS, count))
    for row in found:
        row[random.choice(count, size, replace=False)] = 1
    return found


def _within(kernel: Doubles, subsets: Doubles) -> Doubles:
    """Return the sum of a kernel over the pairs of different members of each subset."""
    sums: Doubles = (subsets @ kernel * subsets).sum(1) - subsets @ np.diag(kernel)
    return sums


def _kernel(x: Floats, y: Floats) -> Doubles:
    values = x.astype(np.float64) @ y.T.astype(np.float64) / x.shape[1] + 1.0
    cubed: Doubles = values * values * values
    return cubed


def density(generated: Floats, real: Floats) -> float:
    """Return the mean number of real neighborhoods that a generated image lies in, divided by k = 5."""
    balls = np.partition(_squared(real, real), _COVERAGE_K, axis=1)[:, _COVERAGE_K]
    return float((_squared(generated, real) <= balls[None]).sum(1).mean() / _COVERAGE_K)


def precision_recall_coverage(generated: Floats, real: Floats) -> tuple[float, float, float]:
    """Return precision, recall and coverage of features (N, F) and (M, F), with N and M above 5."""
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
    """Return squared distances (len(a), len(b))."""
    product = a @ b.T
    apart: Floats = np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * product, 0)
    return apart


def nearest(pictures: Bytes, known: Bytes) -> tuple[npt.NDArray[np.int64], Doubles]:
    """Return, for each of `pictures` (N, ...), the index of the nearest of `known` (M, ...), and its distance.

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
