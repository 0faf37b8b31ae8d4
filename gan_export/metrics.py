"""What can be said of pictures of digits: how sure a classifier is of them, and how far they are from real ones.

The classifier, and what it says of MNIST's test digits, ship in data/digits-judge.npz (`train/judge.py` makes it
and states its accuracy there); it never takes part in training a generator.  NumPy alone computes it, so a file
is evaluated without importing torch.  Distances are in this classifier's own features: compare them with each
other and with their floor (real training digits against real test digits), not with another network's.

Sources: Frechet distance, Heusel et al. 2017; precision and recall, Kynkaanniemi et al. 2019, k = 3; coverage,
Naeem et al. 2020, k = 5.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from gan_export.errors import GanExportError

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

SURE = 0.9  # probability from which a picture counts as recognised
CLASSES = 10
SIZE = 32  # pixels a side that the classifier reads
NEIGHBOURS = 2500  # pictures on each side of precision, recall and coverage
_POOLED = (True, False, True, True)  # after which convolutions a 2x2 maximum follows
_PIECE = 250  # pictures at once: the widest im2col is (250 x 16 x 16, 288) float32, 74 MB
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
    """How far one set of pictures is from MNIST's test digits."""

    frechet: float
    precision: float  # share of the pictures that lie among the real ones
    recall: float  # share of the real ones that lie among the pictures
    coverage: float  # share of the real ones with a picture nearer than their 5th real neighbour


@dataclass(frozen=True, slots=True)
class Report:
    """What the classifier says of `pictures` pictures.  `floor` is that of `floor_pictures` real training digits."""

    pictures: int
    sure_share: float
    sure_share_real_test: float
    digits: tuple[float, ...]  # share of each digit among them
    distances: Distances
    floor: Distances
    floor_pictures: int
    agreement: float | None  # share of the pictures whose digit is their label; None without labels
    judge_test_accuracy: float

    def to_json(self) -> dict[str, object]:
        """Flat plain data: each distance beside its floor."""
        data: dict[str, object] = {
            "judge_test_accuracy": self.judge_test_accuracy,
            "pictures": self.pictures,
            "sure_share": self.sure_share,
            "sure_share_real_test": self.sure_share_real_test,
            "digits": [round(d, 4) for d in self.digits],
        }
        for name in ("frechet", "precision", "recall", "coverage"):
            data |= {name: getattr(self.distances, name), f"{name}_floor": getattr(self.floor, name)}
        data["floor_pictures"] = self.floor_pictures
        return data if self.agreement is None else {**data, "label_agreement": self.agreement}


@dataclass(frozen=True, slots=True)
class Classifier:
    """Four 3x3 convolutions and two dense layers.  Convolutions are (9 x inputs, outputs), BatchNorm folded in."""

    convolutions: tuple[tuple[Floats, Floats], ...]
    dense: tuple[Floats, Floats]
    head: tuple[Floats, Floats]

    def features(self, pictures: Bytes) -> Floats:
        """Pictures uint8 (N, 32, 32, 1) to the layer before the last: (N, F)."""
        pieces = [self._piece(pictures[i : i + _PIECE]) for i in range(0, len(pictures), _PIECE)]
        return np.concatenate(pieces)

    def probabilities(self, features: Floats) -> Floats:
        """(N, F) to the chance of each digit, (N, 10)."""
        logits = features @ self.head[0] + self.head[1]
        raised = np.exp(logits - logits.max(1, keepdims=True))
        chances: Floats = raised / raised.sum(1, keepdims=True)
        return chances

    def _piece(self, pictures: Bytes) -> Floats:
        x = pictures.astype(np.float32) / np.float32(127.5) - np.float32(1)
        for (weight, bias), pooled in zip(self.convolutions, _POOLED, strict=True):
            n, h, w, c = x.shape
            around = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
            windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), axis=(1, 2))  # (n, h, w, c, 3, 3)
            columns = windows.transpose(0, 1, 2, 4, 5, 3).reshape(n * h * w, 9 * c)
            x = np.maximum(columns @ weight + bias, 0).reshape(n, h, w, -1)
            if pooled:
                x = x.reshape(n, h // 2, 2, w // 2, 2, -1).max(axis=(2, 4))
        return np.maximum(x.reshape(len(x), -1) @ self.dense[0] + self.dense[1], 0)


@dataclass(frozen=True, slots=True)
class Judge:
    """The classifier and what it says of real digits.

    test: of all test digits; neighbours: features (NEIGHBOURS, F) of the first of them
    floors: pictures -> the distances of that many real training digits, ascending
    """

    classifier: Classifier
    accuracy: float
    sure_share: float
    test: Gaussian
    neighbours: Floats
    floors: tuple[tuple[int, Distances], ...]


@cache
def judge() -> Judge:
    """The judge that ships."""
    packed = resources.files("gan_export").joinpath("data", "digits-judge.npz").read_bytes()
    with np.load(io.BytesIO(packed), allow_pickle=False) as f:
        kept = {name: f[name] for name in f.files}

    def layer(name: str) -> tuple[Floats, Floats]:
        return kept[f"{name}.weight"].astype(np.float32), kept[f"{name}.bias"].astype(np.float32)

    return Judge(
        Classifier(tuple(layer(f"conv{i}") for i in range(len(_POOLED))), layer("dense"), layer("head")),
        float(kept["accuracy"]),
        float(kept["sure_share"]),
        Gaussian(kept["test.mean"].astype(np.float64), kept["test.covariance"].astype(np.float64)),
        kept["neighbours"].astype(np.float32),
        tuple((int(row[0]), Distances(*map(float, row[1:]))) for row in kept["floors"]),
    )


def evaluate(pictures: Bytes, labels: Labels | None = None) -> Report:
    """What the judge says of pictures uint8 (N, H, W, 1), 28x28 or 32x32, white on black.

    Raises GanExportError for pictures of another kind, which it has no features for, and for fewer than 1,000.
    """
    known = judge()
    if len(pictures) < known.floors[0][0]:
        raise GanExportError(f"{len(pictures)} pictures are too few to measure; at least {known.floors[0][0]} are")
    features = known.classifier.features(readable(pictures))
    chances = known.classifier.probabilities(features)
    found = chances.argmax(1)
    count, floor = next((n, d) for n, d in reversed(known.floors) if n <= len(pictures))
    return Report(
        pictures=len(pictures),
        sure_share=float((chances.max(1) >= SURE).mean()),
        sure_share_real_test=known.sure_share,
        digits=tuple(float(n) / len(found) for n in np.bincount(found, minlength=CLASSES)),
        distances=distances(features, known.test, known.neighbours),
        floor=floor,
        floor_pictures=count,
        agreement=None if labels is None else float((found == labels).mean()),
        judge_test_accuracy=known.accuracy,
    )


def readable(pictures: Bytes) -> Bytes:
    """Pictures as the classifier reads them, (N, 32, 32, 1); those of 28x28 are resized as for training."""
    n, h, w, c = pictures.shape
    if c != 1 or (h, w) not in ((28, 28), (SIZE, SIZE)):
        raise GanExportError(
            f"no features are at hand for pictures of {h}x{w} with {c} channel{'s' if c > 1 else ''}: the digit "
            "classifier that ships reads 28x28 or 32x32 with one, so nothing is measured"
        )
    if h == SIZE:
        return pictures
    from PIL import Image

    larger = [Image.fromarray(p[:, :, 0]).resize((SIZE, SIZE), Image.Resampling.BILINEAR) for p in pictures]
    return np.stack([np.asarray(p, np.uint8) for p in larger]).reshape(n, SIZE, SIZE, 1)


def distances(features: Floats, test: Gaussian, neighbours: Floats) -> Distances:
    """Of features (N, F) from real ones; the neighbourhoods are of the first NEIGHBOURS of each."""
    precision, recall, coverage = manifolds(features[: len(neighbours)], neighbours)
    return Distances(frechet(Gaussian.of(features), test), precision, recall, coverage)


def frechet(a: Gaussian, b: Gaussian) -> float:
    """|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)); 0 for equal Gaussians, else positive up to rounding."""
    values, vectors = np.linalg.eigh(a.covariance)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    between = np.sqrt(np.clip(np.linalg.eigvalsh(root @ b.covariance @ root), 0, None)).sum()
    apart = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance) + np.trace(b.covariance)
    return float(apart - 2 * between)


def manifolds(generated: Floats, real: Floats) -> tuple[float, float, float]:
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
