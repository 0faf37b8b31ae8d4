"""Split an image into overlapping tiles, so that memory stays bounded, and compare them at their seams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_export.errors import GanExportError
from gan_export.graph.reach import Reach

Pixels = npt.NDArray[Any]  # of uint8 or uint16
Run = Callable[[Pixels], Pixels]  # the generator over (H, W, C), of sizes that it takes
OVERLAP = 16
MAX_MEMORY = 4 << 30
_WORKSPACE = 2  # a runtime's own memory, in multiples of the values between layers
_FLOAT = 4


@dataclass(frozen=True, slots=True)
class Tiling:
    """The settings for splitting large images.

    tile:       height and width of a tile without its overlap; 0 for as large as `max_memory` allows; None to split
                only an image that doesn't fit into `max_memory`
    overlap:    pixels that a tile reads around itself; None for as many as change its pixels, so that nothing differs
    max_memory: bytes for an image, its result and what is between them, as estimated
    """

    tile: int | None = None
    overlap: int | None = OVERLAP
    max_memory: int = MAX_MEMORY

    def __post_init__(self) -> None:
        if self.tile is not None and not 0 <= self.tile <= 1 << 16:
            raise GanExportError(f"tile={self.tile}: must be 0 (automatic) to {1 << 16} pixels")
        if self.overlap is not None and not 0 <= self.overlap <= 1 << 16:
            raise GanExportError(f"tile overlap {self.overlap}: must be 0 to {1 << 16} pixels, or full")
        if self.max_memory < 1:
            raise GanExportError(f"max memory {self.max_memory}: must be at least 1 byte")


@dataclass(frozen=True, slots=True)
class Span:
    """Rows or columns of the image: a tile reads start .. stop-1, and the result keeps first .. last-1 of them."""

    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Grid:
    """The tiles of an image: each row of tiles with each column; overlap: pixels that a tile reads around itself."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]
    overlap: int

    @property
    def count(self) -> int:
        return len(self.rows) * len(self.columns)

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of what one tile reads."""
        return self.rows[0].stop, self.columns[0].stop


@dataclass(frozen=True, slots=True)
class Seams:
    """The difference of tiles from the untiled result, measured at the seams of a piece of the image.

    largest, mean: of the differences of values, in steps of 1 / `levels`; piece: its height and width
    """

    tiles: int
    overlap: int
    piece: tuple[int, int]
    largest: int
    mean: float
    levels: int


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a tile.

    room: bytes for it; fixed: the only height and width that the generator takes; least: the smallest side
    """

    room: int
    fixed: tuple[int, int] | None = None
    least: int = 1


def memory(reach: Reach, height: int, width: int) -> int:
    """Return an estimate of the bytes that a runtime needs for an image of this size."""
    return height * width * reach.values * _FLOAT * _WORKSPACE


def grid(height: int, width: int, tiling: Tiling, reach: Reach, limits: Limits) -> Grid:
    """Return the tiles of an image whose sides are multiples of `reach.multiple`.

    Raises GanExportError if no tile fits into `limits.room` with its overlap.
    """
    step = reach.multiple
    overlap = _up(reach.pixels if tiling.overlap is None else tiling.overlap, step)
    if limits.fixed:
        window = limits.fixed
    elif tiling.tile:
        side = max(_up(tiling.tile, step) + 2 * overlap, _up(limits.least, step))
        window = (side, side)
    else:
        window = _largest(height, width, reach, limits.room)
    for name, side, whole in (("height", window[0], height), ("width", window[1], width)):
        if side < whole and side - 2 * overlap < step:
            raise GanExportError(
                f"tile_overlap={overlap} pixels leaves nothing of a tile of {name} {side}; lower it"
                + ("" if limits.fixed else ", or raise max_memory=")
            )
    used = memory(reach, min(window[0], height), min(window[1], width))
    if used > limits.room:
        raise GanExportError(
            f"a tile of {window[1]} x {window[0]} pixels with its overlap needs about {used >> 20:,} MiB, and "
            f"max_memory= leaves {limits.room >> 20:,}; lower tile= or tile_overlap=, or raise max_memory="
        )
    return Grid(_spans(height, window[0], overlap), _spans(width, window[1], overlap), overlap)


def run(image: Pixels, tiles: Grid, through: Run, advance: Callable[[int, int], None]) -> Pixels:
    """Return what `through` makes of an image (H, W, C), tile by tile; `advance` gets the tiles done and in all."""
    result: Pixels | None = None
    up = down = 1
    done = 0
    for rows in tiles.rows:
        for columns in tiles.columns:
            read = image[rows.start : rows.stop, columns.start : columns.stop]
            made = through(np.ascontiguousarray(read))
            if result is None:
                up, down = made.shape[0], read.shape[0]
                result = np.empty((image.shape[0] * up // down, image.shape[1] * up // down, made.shape[2]), made.dtype)
            at = [slice(s.first * up // down, s.last * up // down) for s in (rows, columns)]
            of = [slice((s.first - s.start) * up // down, (s.last - s.start) * up // down) for s in (rows, columns)]
            result[at[0], at[1]] = made[of[0], of[1]]
            done += 1
            advance(done, tiles.count)
    assert result is not None
    return result


def seams(images: tuple[Pixels, Pixels], tiles: Grid, reach: Reach, through: Run, limits: Limits) -> Seams:
    """Run a piece of the image around a seam at once, and compare it with the tiles' result near the seam.

    images: the image and its result, (H, W, C) and (H', W', C')
    """
    image, result = images
    height, width = tiles.window
    double = (min(2 * height, image.shape[0]), min(2 * width, image.shape[1]))
    sides = (height, width) if limits.fixed or memory(reach, *double) > limits.room else double
    rows = _around(tiles.rows, sides[0], image.shape[0], reach.multiple)
    columns = _around(tiles.columns, sides[1], image.shape[1], reach.multiple)
    whole = through(np.ascontiguousarray(image[rows.start : rows.stop, columns.start : columns.stop]))
    up, down = result.shape[0], image.shape[0]
    at = tuple(slice(s.first * up // down, s.last * up // down) for s in (rows, columns))
    of = tuple(slice((s.first - s.start) * up // down, (s.last - s.start) * up // down) for s in (rows, columns))
    differences = np.abs(result[at].astype(np.int32) - whole[of].astype(np.int32))
    levels = int(np.iinfo(result.dtype).max)
    return Seams(tiles.count, tiles.overlap, sides, int(differences.max()), float(differences.mean()), levels)


def _around(spans: tuple[Span, ...], side: int, whole: int, step: int) -> Span:
    """Return the piece of `side` pixels around the seam in the middle, of which the inner half is compared."""
    if len(spans) == 1:
        return Span(0, whole, 0, whole)
    seam = spans[(len(spans) - 1) // 2].last
    start = min(max(seam - side // 2, 0) // step * step, whole - side)
    near = max(side // 4 // step * step, step)
    return Span(start, start + side, max(seam - near, start), min(seam + near, start + side))


def _spans(whole: int, window: int, overlap: int) -> tuple[Span, ...]:
    if window >= whole:
        return (Span(0, whole, 0, whole),)
    inner = window - 2 * overlap
    found: list[Span] = []
    while not found or found[-1].last < whole:
        start = min(len(found) * inner, whole - window)
        last = whole if start == whole - window else start + window - overlap
        found.append(Span(start, start + window, found[-1].last if found else 0, last))
    return tuple(found)


def _largest(height: int, width: int, reach: Reach, room: int) -> tuple[int, int]:
    """Return the largest window that fits: square, unless the image is narrower."""
    area = room // max(memory(reach, 1, 1), 1)
    step = reach.multiple
    side = int(area**0.5)
    if min(height, width) < side:
        short = min(height, width)
        long = max(area // short // step * step, step)
        return (short, long) if height < width else (long, short)
    side = max(side // step * step, step)
    return side, side


def _up(value: int, step: int) -> int:
    return -(-value // step) * step
