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
    """`levels` of float32 (N, C, H, W) as uint8 (N, H, W, C)."""
    return np.ascontiguousarray(levels(images, span).transpose(0, 2, 3, 1))


def levels(values: Floats, span: tuple[float, float] | None = None) -> Bytes:
    """clamp(floor(x × 127.5 + 128), 0, 255) of float32 in [-1, 1]: uint8 of the same shape.

    torchvision's and NVlabs' rule alike, computed in float32.  NaN gives 0.

    span: (low, high) of the values if it is another, brought to [-1, 1] first; None if nothing bounds them
    """
    low, high = span or (-1.0, 1.0)
    if (low, high) != (-1.0, 1.0):
        values = (values - np.float32(low)) * np.float32(2.0 / (high - low)) - np.float32(1.0)
    near = np.fmin(np.fmax(values, np.float32(-2.0)), np.float32(2.0))  # fmax makes NaN the lowest
    scaled = np.floor(near * np.float32(127.5) + np.float32(128.0))
    clamped: Bytes = np.clip(scaled, 0.0, 255.0).astype(np.uint8)
    return clamped


def from_bytes(images: Bytes) -> Floats:
    """uint8 (N, H, W, C) to float32 (N, C, H, W) in [-1, 1]: x / 127.5 - 1."""
    values = images.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def grid(images: Bytes, columns: int | None = None, pad: int = 2) -> Bytes:
    """uint8 (N, H, W, C) laid out row by row with `pad` black pixels around each: uint8 (H', W', C).

    columns: as near to a square as can be, where not given.
    """
    n, h, w, c = images.shape
    if n < 1:
        raise GanExportError("a grid of no pictures; ask for at least one")
    columns = columns or _columns(n)
    sheet = np.zeros((*grid_size(n, h, w, columns, pad), c), np.uint8)
    for i, picture in enumerate(images):
        top, left = (i // columns) * (h + pad) + pad, (i % columns) * (w + pad) + pad
        sheet[top : top + h, left : left + w] = picture
    return sheet


def grid_size(count: int, height: int, width: int, columns: int | None = None, pad: int = 2) -> tuple[int, int]:
    """(height, width) of `count` pictures' grid in pixels."""
    columns = columns or _columns(count)
    return -(-count // columns) * (height + pad) + pad, columns * (width + pad) + pad


def _columns(count: int) -> int:
    return math.ceil(math.sqrt(count))


def check_png(channels: int, instead: str = ".npy or .npz") -> None:
    """Raises GanExportError for channels that a PNG doesn't have: 1 grey, 2 with alpha, 3 RGB, 4 with alpha."""
    if not 1 <= channels <= 4:
        raise GanExportError(f"a PNG has 1 to 4 channels, these pictures {channels}; use {instead}")


def write_png(path: Path | str, image: Bytes) -> None:
    """Write uint8 (H, W, C), C 1 to 4, whole or not at all."""
    with atomic_file(path) as temporary:
        encode_png(temporary, image)


def encode_png(path: Path, image: Bytes) -> None:
    """Write uint8 (H, W, C), C 1 to 4, in place."""
    from PIL import Image

    check_png(image.shape[2])
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(path, format="PNG")
