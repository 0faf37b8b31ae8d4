"""Keep what an evaluator measured of real images, in memory and as an .npz file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gan_export._lib.fs import atomic_file
from gan_export.errors import GanExportError, Topic, first_line, linked, printable
from gan_export.metrics.distances import NEIGHBORS, Bytes, Floats, Gaussian, Sums
from gan_export.metrics.evaluators import Evaluator

LEAST = 100  # images; statistics of fewer are too noisy to compare
_FIELDS = ("mean", "covariance", "neighbors", "count", "shape", "evaluator", "source")
_MOST_FEATURES = 1 << 14  # per image: the covariance has the square of it
_MOST_BYTES = 1 << 32


@dataclass(frozen=True, slots=True)
class Measured:
    """The features of a set of images: how many, their Gaussian, and the first NEIGHBORS of them, (N, F)."""

    count: int
    gaussian: Gaussian
    neighbors: Floats


@dataclass(frozen=True, slots=True)
class Reference:
    """Real images, measured by an evaluator.

    evaluator: its name; for a file, with the hash of the content
    shape:     (C, H, W) of the images
    source:    the name of the folder or file, for messages
    """

    evaluator: str
    shape: tuple[int, int, int]
    source: str
    measured: Measured

    def save(self, path: Path) -> None:
        """Write an .npz file, which `load` reads."""
        held = self.measured
        with atomic_file(path) as temporary, open(temporary, "wb") as f:
            np.savez(
                f, mean=held.gaussian.mean, covariance=held.gaussian.covariance, neighbors=held.neighbors,
                count=np.int64(held.count), shape=np.array(self.shape, np.int64), evaluator=np.str_(self.evaluator),
                source=np.str_(self.source),
            )  # fmt: skip

    def check(self, evaluator: str, shape: tuple[int, int, int]) -> None:
        """Raise GanExportError if images of `shape` that `evaluator` measures can't be compared with these."""
        if self.evaluator != evaluator:
            raise GanExportError(
                f"{printable(self.source)}: the statistics were measured by {printable(self.evaluator, 100)}, not by "
                f"{printable(evaluator, 100)}; measure the reference images again"
            )
        if self.shape != shape:
            ours, theirs = ("x".join(map(str, s)) for s in (shape, self.shape))
            raise GanExportError(
                f"{printable(self.source)}: reference images of {theirs}; the generator's are {ours} (C x H x W)"
            )


@linked(Topic.FEATURES)
def load(path: Path) -> Reference:
    """Read statistics that `Reference.save` wrote.  Raises GanExportError for any other file."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            stored = all(m.compress_type == zipfile.ZIP_STORED for m in members)
            if not stored or sum(m.file_size for m in members) > _MOST_BYTES:
                raise ValueError("compressed, or too large")
        with np.load(path, allow_pickle=False) as f:
            held = {name: f[name] for name in _FIELDS}
        mean, covariance, neighbors = (np.asarray(held[n]) for n in _FIELDS[:3])
        width = len(mean)
        fits = mean.shape == (width,) and covariance.shape == (width, width) and neighbors.shape[1:] == (width,)
        if not (fits and 1 <= width <= _MOST_FEATURES and len(neighbors) > 5 and held["shape"].shape == (3,)):
            raise ValueError("arrays of other shapes")
        if not all(np.isfinite(a).all() for a in (mean, covariance, neighbors)):
            raise ValueError("values that are not finite")
        channels, height, width = map(int, held["shape"])
        gaussian = Gaussian(mean.astype(np.float64), covariance.astype(np.float64))
        measured = Measured(int(held["count"]), gaussian, neighbors.astype(np.float32))
        return Reference(str(held["evaluator"]), (channels, height, width), path.name, measured)
    except (OSError, ValueError, KeyError, TypeError, IndexError, zipfile.BadZipFile, EOFError) as e:
        raise GanExportError(
            f"{printable(str(path))} has no statistics of reference images ({first_line(e, 80)}); give a folder of "
            "images, or the .npz file that write_reference= wrote"
        ) from None


def measure(blocks: Iterable[Bytes], evaluator: Evaluator) -> Measured:
    """Measure images, in blocks uint8 (n, H, W, C), with the memory of one block and NEIGHBORS features.

    Raises GanExportError for fewer than LEAST images, or for features that are not finite.
    """
    sums, first, kept = Sums(), [], 0
    for block in blocks:
        features = evaluator.features(block)
        if features.shape[1] > _MOST_FEATURES:
            raise GanExportError(
                f"{printable(evaluator.name, 100)}: {features.shape[1]:,} features per image; must be at most "
                f"{_MOST_FEATURES:,}"
            )
        if not np.isfinite(features).all():
            raise GanExportError(f"{printable(evaluator.name, 100)}: features that are not finite")
        sums.add(features)
        if kept < NEIGHBORS:
            first.append(features[: NEIGHBORS - kept])
            kept += len(first[-1])
    if sums.count < LEAST:
        raise GanExportError(f"{sums.count} images are too few to compare; at least {LEAST} are needed")
    return Measured(sums.count, sums.gaussian(), np.concatenate(first))
