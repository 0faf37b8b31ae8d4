"""Files to images of one shape, by threads, one batch ahead of the training.

Pillow releases the GIL while it decodes and resizes, so threads use every core.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from gan_export.errors import printable

Bytes = npt.NDArray[np.uint8]
Shape = tuple[int, int, int]  # (C, H, W) of one image

_PIECE = 16  # files per batch when a folder is opened


def decode(file: Path, shape: Shape) -> Bytes:
    """Decode an image, resize its shorter side to fit, and crop the center: uint8 (C, H, W).

    16-bit and palette images are converted to 8 bits per channel; transparent areas become black.
    """
    with Image.open(file) as opened:
        return fit(plain(opened, shape[0]), shape)


def fit(image: Image.Image, shape: Shape) -> Bytes:
    """Resize an L or RGB image by its shorter side and crop the center: uint8 (C, H, W)."""
    c, h, w = shape
    scale = max(h / image.height, w / image.width)
    size = (max(w, round(image.width * scale)), max(h, round(image.height * scale)))
    if size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - w) // 2, (size[1] - h) // 2
    pixels = np.asarray(image.crop((left, top, left + w, top + h)), np.uint8)
    return np.ascontiguousarray(pixels.reshape(h, w, c).transpose(2, 0, 1))


def plain(image: Image.Image, channels: int) -> Image.Image:
    """Convert any PIL mode to L (1 channel) or RGB (3)."""
    if image.mode.startswith("I") or image.mode == "F":  # 16 or 32 bits per pixel: scaled by its own range
        values = np.asarray(image, np.float64)
        top = 65535.0 if values.max(initial=0) > 255 else 255.0
        image = Image.fromarray(np.clip(values * (255.0 / top) + 0.5, 0, 255).astype(np.uint8))
    if image.mode in ("P", "LA", "PA", "RGBA", "La", "RGBa"):
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return image.convert("L" if channels == 1 else "RGB")


def tried(files: Sequence[Path], shape: Shape) -> list[Bytes | str]:
    """Return the image of each file, or the reason why it can't be read."""
    return [_tried(file, shape) for file in files]


def _tried(file: Path, shape: Shape) -> Bytes | str:
    try:
        return decode(file, shape)
    except Exception as e:  # PIL raises exceptions of many types on hostile files
        return printable(str(e).splitlines()[0] if str(e) else type(e).__name__, 100)


class Decoder:
    """A decoder of lists of files, in order, with threads.  May be called from one thread at a time."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
        self._ahead = ThreadPoolExecutor(
            1
        )  # not in the pool: it waits for the pool, and would occupy one of its threads
        self._next: tuple[tuple[Path, ...], Future[list[Bytes | str]]] | None = None

    def each(self, files: Sequence[Path], shape: Shape) -> Iterator[Bytes | str]:
        """Yield the image of every file, or the reason why it can't be read."""
        pieces = [files[i : i + _PIECE] for i in range(0, len(files), _PIECE)]
        for piece in self._pool.map(partial(tried, shape=shape), pieces):
            yield from piece

    def expect(self, files: tuple[Path, ...], shape: Shape) -> None:
        """Start to decode the batch of the next call of `batch`."""
        self._next = files, self._ahead.submit(lambda: list(self.each(files, shape)))

    def batch(self, files: tuple[Path, ...], shape: Shape) -> list[Bytes | str]:
        """Return the results of `each` for one batch, without waiting if it was expected and is ready."""
        if self._next and self._next[0] == files:
            return self._next[1].result()
        return list(self.each(files, shape))
