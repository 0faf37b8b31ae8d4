"""One image of what a checkpoint would generate under each reading that its keys, shapes and statistics allow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gan_export import images
from gan_export._lib.fs import refuse_overwrite
from gan_export.checkpoint import Checkpoint
from gan_export.errors import GanExportError, printable
from gan_export.recognize import draw, questions
from gan_export.recognize.options import ReadOptions, option_of, worded

Bytes = npt.NDArray[np.uint8]

MOST = 24  # readings on one sheet
_SIDE = 64  # pixels that a small image is enlarged to, at least
_LETTER, _GAP = 16, 4  # pixels: size of the labels' font, between images
_WIDTH = 0.6  # of a letter, in sizes of the font, on average and rounded up


@dataclass(frozen=True, slots=True)
class Reading:
    """The option that a reading differs in, as "slope=0.2", and its images, uint8 (N, H, W, C)."""

    option: str
    images: Bytes


def write(
    path: Path,
    checkpoint: Checkpoint,
    read: Callable[[ReadOptions], Checkpoint],
    label: Callable[[str], str] = str,
) -> tuple[Reading, ...]:
    """Write a PNG with 8 images per reading, a row each below its option, the reading that is used first.

    read:  reads the same file with other options, without evidence
    label: turns an option into the text on the sheet
    Raises GanExportError for another suffix, a generator that takes images, or one too large for several readings.
    """
    check_path(path)
    refuse_overwrite(path, checkpoint.source.files)
    if not checkpoint.signature.is_sampled:
        raise GanExportError("target= shows what is generated from latents; this generator takes images")
    found = list(readings(checkpoint, read))
    images.write_png(path, _sheet(found, label))
    return tuple(found)


def check_path(path: Path) -> None:
    """Raise GanExportError unless the path ends in .png; it reads nothing, so call it before the checkpoint is read."""
    if path.suffix.lower() != ".png":
        raise GanExportError(f"target={printable(path.name)}: readings are written as .png")


def readings(checkpoint: Checkpoint, read: Callable[[ReadOptions], Checkpoint]) -> tuple[Reading, ...]:
    """Return the reading that is taken, then each that differs from it in one choice that is open."""
    first = _images(checkpoint)
    if first is None:
        raise GanExportError(
            "target=: this generator takes more work than several readings are worth; try single options"
        )
    found = [Reading("as it is read", first)]
    for assumption in checkpoint.reading.unsettled:
        option = option_of(assumption.option)
        for value in questions.values(option, assumption.instead):
            try:
                other = read(replace(checkpoint.overrides, **{option: value}))
            except GanExportError:
                continue
            if (made := _images(other)) is not None and len(found) < MOST:
                found.append(Reading(f"{option}={worded(value)}", made))
    return tuple(found)


def _images(checkpoint: Checkpoint) -> Bytes | None:
    return draw.images(checkpoint.spec, checkpoint.weights)


def _sheet(found: list[Reading], label: Callable[[str], str]) -> Bytes:
    rows = [_row(reading, label(reading.option)) for reading in found]
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(r, ((0, _GAP), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in rows])


def _row(reading: Reading, text: str) -> Bytes:
    _, height, _, channels = reading.images.shape
    times = max(1, -(-_SIDE // height))
    large = reading.images.repeat(times, 1).repeat(times, 2)
    large = np.repeat(large, 3, 3) if channels == 1 else large[..., :3]
    row = np.pad(large, ((0, 0), (0, 0), (0, _GAP), (0, 0)), constant_values=255).swapaxes(0, 1)
    row = row.reshape(large.shape[1], -1, 3)[:, :-_GAP]
    return np.concatenate([_label(text, row.shape[1]), row])


def _label(text: str, width: int) -> Bytes:
    """Return the text in black on white, in as many lines as it takes, uint8 (height, width, 3)."""
    from PIL import Image, ImageDraw

    letters = max(8, int(width / (_LETTER * _WIDTH)))
    lines = [text[i : i + letters] for i in range(0, len(text), letters)]
    sheet = Image.new("RGB", (width, len(lines) * (_LETTER + 4) + 4), "white")
    for i, line in enumerate(lines):
        ImageDraw.Draw(sheet).text((2, 2 + i * (_LETTER + 4)), line, fill="black", font_size=_LETTER)
    return np.asarray(sheet, np.uint8)
