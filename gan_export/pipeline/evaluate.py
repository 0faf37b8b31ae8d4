"""What a generator's pictures are worth, from its file alone: any artifact or checkpoint to metrics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gan_export import images, latents
from gan_export.errors import GanExportError, printable
from gan_export.metrics import digits, distances
from gan_export.metrics.digits import Report
from gan_export.sampling.generator import BATCH, Generator, choose_labels

Bytes = npt.NDArray[np.uint8]
COUNT = 10_000
SEED = 1  # previews draw from seed 0
N_SHOWN = 64  # pictures whose nearest training pictures are looked up


@dataclass(frozen=True, slots=True)
class MemorizationReport:
    """Whether a generator repeats its training pictures.

    sheet:    rows of a generated picture, its nearest training picture, four pairs a row: uint8 (H, W, 1)
    ratio:    median distance of generated pictures to their nearest training picture, over the same of real
              pictures that were not trained on; about 1 for a generator that has learnt the law, near 0 for copies
    searched: training pictures looked through
    held_out: what the real ones are
    """

    sheet: Bytes
    ratio: float
    searched: int
    held_out: str


def evaluate(generator: Generator, count: int = COUNT, seed: int = SEED) -> Report:
    """What the digit classifier says of images 0 .. count-1 of `seed`, each class as often as the others.

    Raises GanExportError for pictures that there are no features for.
    """
    _check_readable(generator)
    labels = choose_labels(generator.facts, "all", seed, 0, count) if generator.facts.classes else None
    return digits.evaluate(draw(generator, count, seed), labels)


def draw(generator: Generator, count: int, seed: int) -> Bytes:
    """Images 0 .. count-1 of `seed` as uint8 (count, H, W, C); image i of a conditional generator has label i mod K."""
    latents.check(seed, 0, count)
    label = "all" if generator.facts.classes else "random"
    pieces = [generator.draw(seed, i, min(BATCH, count - i), label) for i in range(0, count, BATCH)]  # type: ignore[arg-type]
    return np.concatenate(pieces)


def memory(generator: Generator, data_root: Path | None, seed: int = SEED) -> MemorizationReport:
    """The nearest training digits of SHOWN pictures: MNIST's 60,000 in `data_root`, or the 10,000 that ship.

    The ratio compares with MNIST's test digits, or with the last 1,000 of those that ship.
    """
    _check_readable(generator)
    pictures = digits.to_classifier_input(draw(generator, N_SHOWN, seed))
    training, held_out, said = _real(data_root)
    where, apart = distances.nearest(pictures, training)
    _, usual = distances.nearest(held_out, training)
    pairs = np.stack((pictures, training[where]), 1).reshape(2 * N_SHOWN, *pictures.shape[1:])
    ratio = float(np.median(apart) / np.median(usual))
    return MemorizationReport(images.grid(pairs, 8), ratio, len(training), said)


def _real(data_root: Path | None) -> tuple[Bytes, Bytes, str]:
    from gan_export.training import data

    shape = (1, digits.SIZE, digits.SIZE)
    if data_root is None:
        shipped = data.packed_digits(shape)
        taken = shipped.read(np.arange(len(shipped))).transpose(0, 2, 3, 1)
        return taken[:-1000], taken[-1000:], "the last 1,000 of the 10,000 digits that ship"
    if not (data_root / "MNIST" / "raw").is_dir():
        raise GanExportError(f"{printable(str(data_root))} holds no MNIST/raw; leave --data-root out for what ships")
    sets = [data.torchvision_set("mnist", data_root, shape, train=train) for train in (True, False)]
    training, test = (s.read(np.arange(len(s))).transpose(0, 2, 3, 1) for s in sets)
    return training, test[:1000], "the first 1,000 of MNIST's test digits"


def _check_readable(generator: Generator) -> None:
    """Raises GanExportError before 10,000 pictures are drawn for nothing."""
    channels, height, width = generator.facts.image
    digits.to_classifier_input(np.zeros((1, height, width, channels), np.uint8))
