"""Evaluate images of digits: the confidence of a classifier, and the distance to real digits.

The classifier and its results for MNIST's test digits are in data/digits-judge.npz, which `train/experiments/judge.py`
makes and which contains its accuracy.  It is never used to train a generator.  It runs in NumPy, so a file is
evaluated without importing torch.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gan_export.errors import GanExportError
from gan_export.metrics.distances import Bytes, Distances, Floats, Gaussian, distances

if TYPE_CHECKING:
    from torch import nn

Labels = npt.NDArray[np.int64]

SURE = 0.9  # probability from which an image counts as recognized
CLASSES = 10
SIZE = 32  # pixels per side that the classifier reads
POOLED = (True, False, True, True)  # convolutions that are followed by 2x2 max pooling
_PIECE = 250  # images at once: the widest im2col is (250 x 16 x 16, 288) float32, 74 MB


@dataclass(frozen=True, slots=True)
class Digits:
    """The evaluator `digits`: the bundled classifier."""

    name: str = "digits"

    def check(self, shape: tuple[int, int, int]) -> None:
        """Raise GanExportError unless it reads images of `shape`, (C, H, W)."""
        channels, height, width = shape
        to_classifier_input(np.zeros((1, height, width, channels), np.uint8))

    def features(self, images: Bytes) -> Floats:
        """Return the features (N, 128) of images uint8 (N, H, W, 1)."""
        return judge().classifier.features(to_classifier_input(images))

    def classify(self, images: Bytes) -> Floats:
        """Return the probabilities (N, 10) of images uint8 (N, H, W, 1)."""
        classifier = judge().classifier
        return classifier.probabilities(classifier.features(to_classifier_input(images)))

    def network(self) -> nn.Module:
        """Return the classifier without its last layer as a module of torch; see `evaluators.Differentiable`."""
        from gan_export.metrics.digits_torch import features_module

        return features_module(judge().classifier, POOLED, SIZE)

    def evaluate(self, images: Bytes, labels: Labels | None = None) -> Report:
        """Measure images against real digits; see `evaluate`."""
        return evaluate(images, labels)


@dataclass(frozen=True, slots=True)
class Report:
    """The measurement of `pictures` images; `floor` is the same for `floor_pictures` real training digits."""

    pictures: int
    sure_share: float
    sure_share_real_test: float
    digits: tuple[float, ...]  # share of each digit among the images
    distances: Distances
    floor: Distances
    floor_pictures: int
    agreement: float | None  # share of the images whose digit is their label; None without labels
    judge_test_accuracy: float

    def to_json(self) -> dict[str, object]:
        """Return flat plain data: each distance with its floor."""
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
        """Return the values of the layer before the last, (N, F), for images uint8 (N, 32, 32, 1)."""
        pieces = [self._piece(pictures[i : i + _PIECE]) for i in range(0, len(pictures), _PIECE)]
        return np.concatenate(pieces)

    def probabilities(self, features: Floats) -> Floats:
        """Return the probability of each digit, (N, 10), for features (N, F)."""
        logits = features @ self.head[0] + self.head[1]
        raised = np.exp(logits - logits.max(1, keepdims=True))
        chances: Floats = raised / raised.sum(1, keepdims=True)
        return chances

    def _piece(self, pictures: Bytes) -> Floats:
        x = pictures.astype(np.float32) / np.float32(127.5) - np.float32(1)
        for (weight, bias), pooled in zip(self.convolutions, POOLED, strict=True):
            n, h, w, c = x.shape
            around = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
            windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), axis=(1, 2))  # (n, h, w, c, 3, 3)
            columns = windows.transpose(0, 1, 2, 4, 5, 3).reshape(n * h * w, 9 * c)
            x = np.maximum(columns @ weight + bias, 0).reshape(n, h, w, -1)
            if pooled:
                x = x.reshape(n, h // 2, 2, w // 2, 2, -1).max(axis=(2, 4))
        return np.maximum(x.reshape(len(x), -1) @ self.dense[0] + self.dense[1], 0)


@dataclass(frozen=True, slots=True)
class DigitReference:
    """The classifier and its results for real digits.

    test: those of all test digits; neighbors: features (NEIGHBORS, F) of the first of them
    floors: number of images -> the distances of that number of real training digits, ascending
    """

    classifier: Classifier
    accuracy: float
    sure_share: float
    test: Gaussian
    neighbors: Floats
    floors: tuple[tuple[int, Distances], ...]


@cache
def judge() -> DigitReference:
    """Return the bundled classifier with its results."""
    packed = resources.files("gan_export").joinpath("data", "digits-judge.npz").read_bytes()
    with np.load(io.BytesIO(packed), allow_pickle=False) as f:
        kept = {name: f[name] for name in f.files}

    def layer(name: str) -> tuple[Floats, Floats]:
        return kept[f"{name}.weight"].astype(np.float32), kept[f"{name}.bias"].astype(np.float32)

    return DigitReference(
        Classifier(tuple(layer(f"conv{i}") for i in range(len(POOLED))), layer("dense"), layer("head")),
        float(kept["accuracy"]),
        float(kept["sure_share"]),
        Gaussian(kept["test.mean"].astype(np.float64), kept["test.covariance"].astype(np.float64)),
        kept["neighbours"].astype(np.float32),
        tuple((int(row[0]), Distances(*map(float, row[1:]))) for row in kept["floors"]),
    )


def evaluate(pictures: Bytes, labels: Labels | None = None) -> Report:
    """Measure images uint8 (N, H, W, 1), 28x28 or 32x32, white on black.

    Raises GanExportError for other images, which have no features, and for fewer than 1,000.
    """
    known = judge()
    if len(pictures) < known.floors[0][0]:
        raise GanExportError(f"{len(pictures)} images are too few to measure; at least {known.floors[0][0]} are")
    features = known.classifier.features(to_classifier_input(pictures))
    chances = known.classifier.probabilities(features)
    found = chances.argmax(1)
    count, floor = next((n, d) for n, d in reversed(known.floors) if n <= len(pictures))
    return Report(
        pictures=len(pictures),
        sure_share=float((chances.max(1) >= SURE).mean()),
        sure_share_real_test=known.sure_share,
        digits=tuple(float(n) / len(found) for n in np.bincount(found, minlength=CLASSES)),
        distances=distances(features, known.test, known.neighbors),
        floor=floor,
        floor_pictures=count,
        agreement=None if labels is None else float((found == labels).mean()),
        judge_test_accuracy=known.accuracy,
    )


def to_classifier_input(pictures: Bytes) -> Bytes:
    """Return images as the classifier reads them, (N, 32, 32, 1); those of 28x28 are resized as in training."""
    n, h, w, c = pictures.shape
    if c != 1 or (h, w) not in ((28, 28), (SIZE, SIZE)):
        raise GanExportError(
            f"there are no features for images of {h}x{w} with {c} channel{'s' if c > 1 else ''}: the bundled digit "
            "classifier reads 28x28 or 32x32 with one channel, so nothing is measured"
        )
    if h == SIZE:
        return pictures
    from PIL import Image

    larger = [Image.fromarray(p[:, :, 0]).resize((SIZE, SIZE), Image.Resampling.BILINEAR) for p in pictures]
    return np.stack([np.asarray(p, np.uint8) for p in larger]).reshape(n, SIZE, SIZE, 1)
