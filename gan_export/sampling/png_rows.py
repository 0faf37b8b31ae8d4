"""Write a PNG file row by row, so that an image of any size needs little memory."""

from __future__ import annotations

import struct
import zlib
from types import TracebackType
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from gan_export.errors import GanExportError
from gan_export.sampling.tiles import Pixels

MAGIC = b"\x89PNG\r\n\x1a\n"
_COLORS = {1: 0, 2: 4, 3: 2, 4: 6}  # PNG's color type by channels: gray, gray and alpha, RGB, RGBA
_PAETH = 4
_AT_ONCE = 1 << 22  # bytes of rows that are filtered together
_MOST_SIDE = (1 << 31) - 1


class PngRows:
    """A PNG file that grows by rows; the context ends it.

    Each row is filtered by Paeth's predictor (PNG specification, 9.4) and compressed by zlib at its default level, as
    most programs do.
    """

    def __init__(self, file: BinaryIO, size: tuple[int, int], channels: int, itemsize: int, profile: bytes) -> None:
        """Begin a file of (height, width), 1 to 4 channels, the last alpha if they are even, and 1 or 2 bytes each."""
        height, width = size
        if max(size) > _MOST_SIDE:
            raise GanExportError(f"an image of {width} x {height} is larger than a PNG can be")
        self._file, self._left, self._shape, self._itemsize = file, height, (width, channels), itemsize
        self._packer = zlib.compressobj()
        self._above = np.zeros(width * channels * itemsize, np.uint8)
        file.write(MAGIC)
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8 * itemsize, _COLORS[channels], 0, 0, 0))
        if profile:
            self._chunk(*profile_chunk(profile))

    def __enter__(self) -> PngRows:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            assert self._left == 0
            self._chunk(b"IDAT", self._packer.flush())
            self._chunk(b"IEND", b"")

    def write(self, rows: Pixels) -> None:
        """Append rows (n, width, channels) of uint8 or uint16."""
        assert rows.shape[1:] == self._shape
        step = max(1, _AT_ONCE // len(self._above))
        for at in range(0, len(rows), step):
            some = np.ascontiguousarray(rows[at : at + step])
            laid = some.astype(">u2").view(np.uint8) if self._itemsize == 2 else some
            if packed := self._packer.compress(self._filtered(laid.reshape(len(some), -1)).tobytes()):
                self._chunk(b"IDAT", packed)
        self._left -= len(rows)

    def _filtered(self, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return rows (n, bytes) less what Paeth's predictor expects, each behind the number of the filter."""
        back = self._shape[1] * self._itemsize  # bytes of a pixel
        above = np.concatenate([self._above[None], rows[:-1]])
        self._above = rows[-1].copy()
        left, corner = np.zeros_like(rows), np.zeros_like(rows)
        left[:, back:], corner[:, back:] = rows[:, :-back], above[:, :-back]
        a, b, c = left.astype(np.int16), above.astype(np.int16), corner.astype(np.int16)
        by_left, by_above, by_corner = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
        expected = np.where(by_above <= by_corner, above, corner)
        expected = np.where((by_left <= by_above) & (by_left <= by_corner), left, expected)
        out = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
        out[:, 0] = _PAETH
        np.subtract(rows, expected, out=out[:, 1:])
        return out

    def _chunk(self, kind: bytes, data: bytes) -> None:
        self._file.write(chunk(kind, data))


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def profile_chunk(profile: bytes) -> tuple[bytes, bytes]:
    """Return the kind and the data of the chunk of an ICC profile: a name, 0, 0 for deflate, the compressed profile."""
    return b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)
