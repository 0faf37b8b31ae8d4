"""Compare a generator's images with real ones by the features of any evaluator, without keeping the images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from gan_export.errors import GanExportError, Topic, linked, printable
from gan_export.metrics import comparison, reference
from gan_export.metrics.comparison import Comparison
from gan_export.metrics.distances import Bytes
from gan_export.metrics.evaluators import Evaluator
from gan_export.metrics.reference import Reference
from gan_export.sampling import image_files
from gan_export.sampling.generator import Generator

BLOCK = 256  # images at once


@linked(Topic.FEATURES)
def compare(
    generator: Generator,
    evaluator: Evaluator,
    against: Reference,
    *,
    count: int,
    seed: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Comparison:
    """Measure images 0 .. count-1 of `seed`, with equally many images per class, against reference images.

    progress: is called with the number of images after each block
    Raises GanExportError if the reference was measured by another evaluator, or for images of another shape.
    """
    evaluator.check(generator.image)
    against.check(evaluator.name, generator.image)
    found = reference.measure(_generated(generator, count, seed, progress), evaluator)
    return comparison.between(evaluator.name, found, against.measured)


@linked(Topic.FEATURES)
def measure_folder(
    folder: Path,
    evaluator: Evaluator,
    shape: tuple[int, int, int],
    *,
    resize: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Reference:
    """Measure the images of a folder and its subfolders, in the order of their names.

    shape:  (C, H, W) that every image must have
    resize: crop each image to the shape's aspect ratio around its center, and resize it (bicubic)
    Raises GanExportError, naming the file, for an image that can't be read or has another size.
    """
    evaluator.check(shape)
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in image_files.SUFFIXES and f.is_file())
    if len(files) < reference.LEAST:
        raise GanExportError(
            f"{printable(str(folder))}: {len(files)} images; at least {reference.LEAST} are needed as a reference"
        )
    return Reference(
        evaluator.name, shape, folder.name, reference.measure(_read(files, shape, resize, progress), evaluator)
    )


def _generated(generator: Generator, count: int, seed: int, progress: Callable[[int], None]) -> Iterator[Bytes]:
    for start in range(0, count, BLOCK):
        n = min(BLOCK, count - start)
        yield generator.sample(n, seed=seed, start=start, labels="all" if generator.classes else "random")
        progress(n)


def _read(
    files: list[Path], shape: tuple[int, int, int], resize: bool, progress: Callable[[int], None]
) -> Iterator[Bytes]:
    for start in range(0, len(files), BLOCK):
        part = files[start : start + BLOCK]
        yield np.stack([_one(file, shape, resize) for file in part])
        progress(len(part))


def _one(file: Path, shape: tuple[int, int, int], resize: bool) -> Bytes:
    channels, height, width = shape
    pixels = image_files.eight_bits(image_files.read(file, image_files.Reading(channels)).pixels)
    if pixels.shape[:2] == (height, width):
        return pixels
    if not resize:
        size = f"{pixels.shape[0]}x{pixels.shape[1]}"
        raise GanExportError(
            f"{printable(str(file))} is {size}; the generator's images are {height}x{width}: resize= resizes them"
        )
    from PIL import Image

    whole = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    scale = min(whole.width / width, whole.height / height)
    left, top = (whole.width - width * scale) / 2, (whole.height - height * scale) / 2
    box = (left, top, left + width * scale, top + height * scale)
    small = whole.resize((width, height), Image.Resampling.BICUBIC, box=box, reducing_gap=None)
    return np.asarray(small, np.uint8).reshape(height, width, channels)
