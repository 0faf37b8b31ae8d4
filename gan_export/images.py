"""Values in [-1, 1] to bytes by one rounding rule, grids, PNG files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gan_export._lib.fs import atomic_file
from gan_export.errors import GanExportError

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


def to_bytes(images: Floats, span: tuple[float, float] | None = None) -> Bytes:
    """Return `levels` of float32 (N, C, H, W) as uint8 (N, H, W, C), and of volumes and signals likewise."""
    return np.ascontiguousarray(np.moveaxis(levels(images, span), 1, -1))


def levels(values: Floats, span: tuple[float, float] | None = None) -> Bytes:
    """Return clamp(floor(x × 127.5 + 128), 0, 255) of float32 in [-1, 1], uint8 of the same shape.

    This is the rule of torchvision and of NVlabs, computed in float32.  NaN becomes 0.

    span: (low, high) of the values if it is not [-1, 1], to which they are rescaled; None if nothing bounds them
    """
    low, high = span or (-1.0, 1.0)
    if (low, high) != (-1.0, 1.0):
        values = (values - np.float32(low)) * np.float32(2.0 / (high - low)) - np.float32(1.0)
    near = np.fmin(np.fmax(values, np.float32(-2.0)), np.float32(2.0))  # fmax makes NaN the lowest
    scaled = np.floor(near * np.float32(127.5) + np.float32(128.0))
    clamped: Bytes = np.clip(scaled, 0.0, 255.0).astype(np.uint8)
    return clamped


def levels_of_16_bits(values: Floats, span: tuple[float, float] | None = None) -> npt.NDArray[np.uint16]:
    """Return the nearest of 65,536 levels of float32 in [-1, 1], uint16 of the same shape; NaN becomes 0.

    span: as of `levels`
    """
    low, high = span or (-1.0, 1.0)
    share = np.fmin(np.fmax((values.astype(np.float32) - np.float32(low)) / np.float32(high - low), 0.0), 1.0)
    nearest: npt.NDArray[np.uint16] = np.floor(share.astype(np.float64) * 65535.0 + 0.5).astype(np.uint16)
    return nearest


def from_bytes(images: Bytes) -> Floats:
    """Convert uint8 (N, H, W, C) to float32 (N, C, H, W) in [-1, 1]: x / 127.5 - 1."""
    values = images.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def grid(images: Bytes, columns: int | None = None, pad: int = 2) -> Bytes:
    """Arrange uint8 (N, H, W, C) row by row with `pad` black pixels around each image: uint8 (H', W', C).

    columns: by default as close to a square as possible.
    """
    n, h, w, c = images.shape
    if n < 1:
        raise GanExportError("a grid needs at least 1 image")
    columns = columns or _columns(n)
    sheet = np.zeros((*grid_size(n, h, w, columns, pad), c), np.uint8)
    for i, picture in enumerate(images):
        top, left = (i // columns) * (h + pad) + pad, (i % columns) * (w + pad) + pad
        sheet[top : top + h, left : left + w] = picture
    return sheet


def grid_size(count: int, height: int, width: int, columns: int | None = None, pad: int = 2) -> tuple[int, int]:
    """Return (height, width) of the grid of `count` images in pixels."""
    columns = columns or _columns(count)
    return -(-count // columns) * (height + pad) + pad, columns * (width + pad) + pad


def _columns(count: int) -> int:
    return math.ceil(math.sqrt(count))


def check_png(channels: int, instead: str = ".npy or .npz") -> None:
    """Raise GanExportError for a channel count that PNG doesn't support: 1 gray, 2 with alpha, 3 RGB, 4 with alpha."""
    if not 1 <= channels <= 4:
        raise GanExportError(f"a PNG has 1 to 4 channels, these images have {channels}; use {instead}")


def write_png(path: Path | str, image: Bytes) -> None:
    """Write uint8 (H, W, C), C 1 to 4, completely or not at all."""
    with atomic_file(path) as temporary:
        encode_png(temporary, image)


def encode_png(path: Path, image: Bytes) -> None:
    """Write uint8 (H, W, C), C 1 to 4, in place."""
    from PIL import Image

    check_png(image.shape[2])
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(path, format="PNG")
