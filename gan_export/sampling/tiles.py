"""Split an image into overlapping tiles, so that memory stays bounded, and compare them at their seams."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_export.errors import GanExportError
from gan_export.graph.reach import Reach

Pixels = npt.NDArray[Any]  # of uint8 or uint16
Run = Callable[[Pixels], Pixels]  # the generator over (H, W, C), of sizes that it takes
Take = Callable[[Pixels], None]  # is given the rows of a result (n, W', C) from the top down
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
class Cost:
    """The bytes that a runtime takes for an image: `fixed`, and `per_pixel` of the input."""

    per_pixel: float
    fixed: int = 0

    def of(self, height: int, width: int) -> int:
        """Return the bytes for an image of this size."""
        return self.fixed + math.ceil(self.per_pixel * height * width)

    def pixels(self, room: int) -> int:
        """Return the pixels that fit into `room`."""
        return int(max(room - self.fixed, 0) / max(self.per_pixel, 1))


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a tile.

    room: bytes for it; cost: what it takes of them; fixed: the only height and width that the generator takes
    least: the smallest side
    rows: the most rows of the image whose results may be in memory at once; None for all
    """

    room: int
    cost: Cost
    fixed: tuple[int, int] | None = None
    least: int = 1
    rows: int | None = None


def estimated(reach: Reach) -> Cost:
    """Return an estimate for a runtime that doesn't state its memory."""
    return Cost(reach.values * _FLOAT * _WORKSPACE)


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
        window = _largest(height, width, step, limits.cost.pixels(limits.room))
        if limits.rows is not None:
            window = (min(window[0], (limits.rows + overlap) // step * step), window[1])
    for name, side, whole in (("height", window[0], height), ("width", window[1], width)):
        if side < whole and side - 2 * overlap < step:
            raise GanExportError(
                f"tile_overlap={overlap} pixels leaves nothing of a tile of {name} {side}; lower it"
                + ("" if limits.fixed else ", or raise max_memory=")
            )
    used = limits.cost.of(min(window[0], height), min(window[1], width))
    if used > limits.room:
        raise GanExportError(
            f"a tile of {window[1]} x {window[0]} pixels with its overlap needs about {used >> 20:,} MiB, and "
            f"max_memory= leaves {limits.room >> 20:,}; lower tile= or tile_overlap=, or raise max_memory="
        )
    found = Grid(_spans(height, window[0], overlap), _spans(width, window[1], overlap), overlap)
    most = max(span.last - span.first for span in found.rows)
    if limits.rows is not None and most > limits.rows:
        raise GanExportError(
            f"the results of {most} rows of the image need more than max_memory= leaves, which is enough for "
            f"{limits.rows}; lower tile=, or raise max_memory="
        )
    return found


def run(image: Pixels, tiles: Grid, through: Run, take: Take, advance: Callable[[int, int], None]) -> None:
    """Give `take` what `through` makes of an image (H, W, C), one row of tiles after another.

    advance: called with the tiles done and in all
    """
    done = 0
    for rows in tiles.rows:
        band: Pixels | None = None
        for columns in tiles.columns:
            read = image[rows.start : rows.stop, columns.start : columns.stop]
            made = through(np.ascontiguousarray(read))
            up, down = made.shape[0], read.shape[0]
            inner = [slice((s.first - s.start) * up // down, (s.last - s.start) * up // down) for s in (rows, columns)]
            part = made[inner[0], inner[1]]
            if band is None:
                band = np.empty((part.shape[0], image.shape[1] * up // down, part.shape[2]), part.dtype)
            band[:, columns.first * up // down : columns.last * up // down] = part
            done += 1
            advance(done, tiles.count)
        assert band is not None
        take(band)


class SeamCheck:
    """Compare tiles with the untiled result near a seam, in a piece of the image that is small enough to run at once.

    `take` is given the rows of the tiles' result, from the top down; it keeps the few that `seams` compares.
    """

    def __init__(self, image: Pixels, tiles: Grid, reach: Reach, limits: Limits) -> None:
        height, width = tiles.window
        double = (min(2 * height, image.shape[0]), min(2 * width, image.shape[1]))
        self._image, self._tiles = image, tiles
        self._sides = (height, width) if limits.fixed or limits.cost.of(*double) > limits.room else double
        self._rows = _around(tiles.rows, self._sides[0], image.shape[0], reach.multiple)
        self._columns = _around(tiles.columns, self._sides[1], image.shape[1], reach.multiple)
        self._kept: list[Pixels] = []
        self._row = 0

    def take(self, rows: Pixels) -> None:
        """Keep those of the next rows of the result that are near the seam."""
        up, down = rows.shape[1], self._image.shape[1]  # the result is as many times as wide
        first, last = (side * up // down for side in (self._rows.first, self._rows.last))
        columns = slice(self._columns.first * up // down, self._columns.last * up // down)
        near = rows[max(first - self._row, 0) : max(last - self._row, 0), columns]
        if near.size:
            self._kept.append(near.copy())
        self._row += len(rows)

    def seams(self, through: Run) -> Seams:
        """Return how the tiles differ from what `through` makes of the piece at once."""
        rows, columns = self._rows, self._columns
        piece = self._image[rows.start : rows.stop, columns.start : columns.stop]
        whole = through(np.ascontiguousarray(piece))
        up, down = whole.shape[0], piece.shape[0]
        at = tuple(slice((s.first - s.start) * up // down, (s.last - s.start) * up // down) for s in (rows, columns))
        differences = np.abs(np.concatenate(self._kept).astype(np.int32) - whole[at].astype(np.int32))
        largest, mean = int(differences.max()), float(differences.mean())
        levels = int(np.iinfo(whole.dtype).max)
        return Seams(self._tiles.count, self._tiles.overlap, self._sides, largest, mean, levels)


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


def _largest(height: int, width: int, step: int, area: int) -> tuple[int, int]:
    """Return the largest window of at most `area` pixels: square, unless the image is narrower."""
    side = int(area**0.5)
    if min(height, width) < side:
        short = min(height, width)
        long = max(area // short // step * step, step)
        return (short, long) if height < width else (long, short)
    side = max(side // step * step, step)
    return side, side


def _up(value: int, step: int) -> int:
    return -(-value // step) * step
