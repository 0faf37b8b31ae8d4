"""Show images before and after a generator: one file per image, and one sheet of small ones for a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gan_export._lib.fs import atomic_file
from gan_export.errors import printable
from gan_export.sampling.image_files import eight_bits, resized
from gan_export.sampling.tiles import Pixels

if TYPE_CHECKING:
    pass

MOST_SHOWN = 500  # of a sheet
_MOST_SIDE = 2048  # pixels of one half
_SMALL = (360, 240)  # width and height of a pair on a sheet
_GAP = 12
_LINE = 4  # between before and after
_CAPTION = 18
_PAPER, _INK = (255, 255, 255), (60, 60, 60)


def write_pair(path: Path, before: Pixels, after: Pixels) -> None:
    """Write a PNG of before (H, W, C) and after (H', W', C'), both of the size of the result, at most 2,048 a side."""
    size = shown_size(*after.shape[:2])
    halves = [_rgb(resized(eight_bits(pixels), size)) for pixels in (before, after)]
    line = np.full((size[0], _LINE, 3), 255, np.uint8)
    from PIL import Image

    with atomic_file(path) as temporary:
        Image.fromarray(np.concatenate([halves[0], line, halves[1]], axis=1)).save(temporary, format="PNG")


def shown_size(height: int, width: int) -> tuple[int, int]:
    """Return the height and width of one half for a result of this size."""
    largest = max(height, width)
    if largest <= _MOST_SIDE:
        return height, width
    return max(1, height * _MOST_SIDE // largest), max(1, width * _MOST_SIDE // largest)


def write_sheet(path: Path, pairs: Sequence[tuple[str, Path]]) -> int:
    """Write a PNG of at most MOST_SHOWN pairs, small and under their names; return how many.

    pairs: (name, file that `write_pair` wrote)
    """
    from PIL import Image, ImageDraw

    shown = pairs[:MOST_SHOWN]
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    wide, high = _SMALL[0] + _GAP, _SMALL[1] + _CAPTION + _GAP
    sheet = Image.new("RGB", (columns * wide + _GAP, rows * high + _GAP), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for i, (name, file) in enumerate(shown):
        left, top = _GAP + i % columns * wide, _GAP + i // columns * high
        with Image.open(file) as opened:
            small = opened.convert("RGB")
        small.thumbnail(_SMALL)
        sheet.paste(small, (left, top + _CAPTION))
        pen.text((left, top), _fitting(name), fill=_INK)
    with atomic_file(path) as temporary:
        sheet.save(temporary, format="PNG")
    return len(shown)


def _fitting(name: str) -> str:
    """The name in characters that Pillow's own font has, as long as its column is wide."""
    return printable(name, 50).encode("latin-1", "replace").decode("latin-1")


def _rgb(pixels: Pixels) -> Pixels:
    """Gray as RGB; transparent pixels on white."""
    if pixels.shape[2] == 4:
        share = pixels[:, :, 3:].astype(np.float32) / np.float32(255)
        pixels = np.rint(pixels[:, :, :3] * share + 255 * (1 - share)).astype(np.uint8)
    return np.repeat(pixels, 3 // pixels.shape[2], axis=2)
