"""Measure the quality of a generator's images from its file: any export or checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gan_export import images
from gan_export.errors import GanExportError, printable
from gan_export.metrics import digits, distances
from gan_export.metrics.digits import Report
from gan_export.sampling.generator import Generator, choose_labels

Bytes = npt.NDArray[np.uint8]
COUNT = 10_000
LEAST = 1000  # images; fewer make the distances too noisy
SEED = 1  # previews use seed 0
N_SHOWN = 64  # number of images whose nearest training images are searched


@dataclass(frozen=True, slots=True)
class MemorizationReport:
    """A measurement of whether a generator repeats its training images.

    sheet:    pairs of a generated image and its nearest training image, four per row: uint8 (H, W, 1)
    ratio:    median distance of generated images to their nearest training image, divided by that of real images
              that were not trained on; about 1 for a generator that generalizes, near 0 for copies
    searched: number of training images
    held_out: a description of the real images that were not trained on
    """

    sheet: Bytes
    ratio: float
    searched: int
    held_out: str


def evaluate(generator: Generator, count: int = COUNT, seed: int = SEED) -> Report:
    """Measure images 0 .. count-1 of `seed` with the digit classifier, with equally many images per class.

    Raises GanExportError for images that there are no features for.
    """
    _check_readable(generator)
    labels = choose_labels(generator.signature, "all", seed, range(count)) if generator.classes else None
    return digits.evaluate(draw(generator, count, seed), labels)


def draw(generator: Generator, count: int, seed: int) -> Bytes:
    """Return images 0 .. count-1 of `seed` as uint8 (count, H, W, C), with label i mod K for image i."""
    return generator.sample(count, seed=seed, labels="all" if generator.classes else "random")


def memory(generator: Generator, data_root: Path | None, seed: int = SEED) -> MemorizationReport:
    """Find the nearest training digits of SHOWN images: among MNIST's 60,000 in `data_root`, or the bundled 10,000.

    The ratio compares with MNIST's test digits, or with the last 1,000 of the bundled ones.
    """
    _check_readable(generator)
    pictures = digits.to_classifier_input(draw(generator, N_SHOWN, seed))
    training, held_out, source = _real(data_root)
    where, apart = distances.nearest(pictures, training)
    _, usual = distances.nearest(held_out, training)
    pairs = np.stack((pictures, training[where]), 1).reshape(2 * N_SHOWN, *pictures.shape[1:])
    ratio = float(np.median(apart) / np.median(usual))
    return MemorizationReport(images.grid(pairs, 8), ratio, len(training), source)


def _real(data_root: Path | None) -> tuple[Bytes, Bytes, str]:
    from gan_export.training import data

    shape = (1, digits.SIZE, digits.SIZE)
    if data_root is None:
        shipped = data.packed_digits(shape)
        taken = shipped.read(np.arange(len(shipped))).transpose(0, 2, 3, 1)
        return taken[:-1000], taken[-1000:], "the last 1,000 of the 10,000 digits that ship"
    if not (data_root / "MNIST" / "raw").is_dir():
        raise GanExportError(
            f"{printable(str(data_root))} contains no MNIST/raw; leave data_root= out to use the bundled digits"
        )
    sets = [data.torchvision_set("mnist", data_root, shape, train=train) for train in (True, False)]
    training, test = (s.read(np.arange(len(s))).transpose(0, 2, 3, 1) for s in sets)
    return training, test[:1000], "the first 1,000 of MNIST's test digits"


def _check_readable(generator: Generator) -> None:
    """Raise GanExportError before 10,000 images are generated that can't be measured."""
    channels, height, width = generator.image
    digits.to_classifier_input(np.zeros((1, height, width, channels), np.uint8))
