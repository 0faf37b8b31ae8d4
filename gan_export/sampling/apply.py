"""Images through a generator that takes images: to the sizes that it takes, through it, and back to their own."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_export import images as byte_rule
from gan_export.errors import GanExportError, Topic, linked
from gan_export.graph.ports import Port, dim_parts
from gan_export.graph.reach import Reach
from gan_export.graph.signature import Signature
from gan_export.recognize.options import Match, ReadOptions
from gan_export.runtimes.base import Session, StatesMemory, check_outputs, feeds_for
from gan_export.sampling import tiles
from gan_export.sampling.opening import opened
from gan_export.sampling.tiles import Pixels, Seams, Take, Tiling

Advance = Callable[[int, int], None]
_MOST_VALUES = 1 << 28  # of the image that goes in at once, or of the one that comes out: 1 GiB of float32
_FLOAT = 4
_MEASURED = (128, 256)  # sides of images whose memory the session states
_COPIES = 2  # of an image and of its result that are in memory: as an array and as Pillow's image


@dataclass(frozen=True, slots=True)
class Made:
    """A result (H', W', C), and how it differs from the untiled one if it was made of tiles and compared."""

    pixels: Pixels
    seams: Seams | None = None


@dataclass(frozen=True, slots=True)
class ImageGenerator:
    """A loaded generator that takes an image and gives one.

    signature: of the file, its images as floats; seed: of its other inputs, such as dropout's, by image
    pad: whether an image of a size that the generator doesn't take is padded by reflection and cropped back
    reach: how far the generator sees, which tiles need; None if unknown
    """

    signature: Signature
    session: Session
    seed: int = 0
    pad: bool = True
    warnings: tuple[str, ...] = ()
    reading: Match | None = None
    reach: Reach | None = None
    tiling: Tiling = field(default_factory=Tiling)
    _input: Port = field(init=False)
    _output: Port = field(init=False)
    _cost: tiles.Cost = field(init=False)

    def __post_init__(self) -> None:
        images = [p for p in self.signature.inputs if p.kind == "image"]
        others = [p for p in self.signature.inputs if p.kind != "image"]
        first = self.signature.outputs[0]
        if len(images) != 1 or first.kind != "image" or not all(p.prior is not None for p in others):
            takes = ", ".join(p.name for p in self.signature.inputs)
            raise GanExportError(f"this generator takes {takes}; apply needs one that takes one image and gives one")
        object.__setattr__(self, "_input", images[0])
        object.__setattr__(self, "_output", first)
        object.__setattr__(self, "_cost", self._measure())
        if self.tiling.tile is not None and (why := self.why_whole):
            raise GanExportError(f"this generator can't be tiled: {why}; leave tile= out")

    @property
    def channels(self) -> tuple[int, int]:
        """The channels of the images that go in and come out."""
        inside, out = (port.shape[port.axis("C")] for port in (self._input, self._output))
        return int(inside), int(out)

    @property
    def takes_16_bits(self) -> bool:
        """Whether images of 16 bits keep them; an export with bytes in and out rounds to 8."""
        return self.session.info.output == "float"

    @property
    def why_whole(self) -> str:
        """Why an image can't be split into tiles; "" if it can."""
        if self.reach is None:
            return "the file doesn't state how far it sees into an image (export it again)"
        if self.reach.whole:
            return f"its {self.reach.whole} depends on the whole image"
        others = [p.name for p in self.signature.inputs if p is not self._input]
        return f"{others[0]} belongs to the whole image" if others else ""

    def apply(self, images: Pixels, start: int = 0, out: Pixels | None = None) -> Pixels:
        """Return what the generator makes of images (N, H, W, C) of uint8 or uint16: (N, H', W', C') of the same type.

        start: the index of the first one, which other inputs depend on; out: an array to fill and return, such as a
        `numpy.memmap` for results that don't fit into memory
        Raises GanExportError for another number of channels, for images that need more than `tiling.max_memory`, and
        without `pad` for a size that the generator doesn't take.
        """
        if images.dtype not in (np.uint8, np.uint16) or images.ndim != 4 or images.shape[3] != self.channels[0]:
            raise GanExportError(
                f"images {images.dtype} {images.shape}; uint8 or uint16 (N, H, W, {self.channels[0]}) are needed"
            )
        if not images.size:
            raise GanExportError(f"images {images.shape}: at least one, with at least one pixel, is needed")
        if out is None:
            made = [self.make(image, start + i, compare=False).pixels for i, image in enumerate(images)]
            return np.stack(made)
        shape = (len(images), *self.output_size(*images.shape[1:3]), self.channels[1])
        if out.shape != shape or out.dtype != images.dtype:
            raise GanExportError(f"out={out.dtype} {out.shape}; {images.dtype} {shape} is needed")
        for i, image in enumerate(images):
            self.make_rows(image, start + i, _filler(out[i]), compare=False)
        return out

    def make(
        self, image: Pixels, index: int, *, compare: bool = True, advance: Advance = lambda done, total: None
    ) -> Made:
        """Return what the generator makes of one image (H, W, C), and with `compare` how its tiles differ.

        advance: called with the tiles done and in all.
        """
        self.admit(*image.shape[:2], itemsize=image.itemsize)
        pixels = np.empty((*self.output_size(*image.shape[:2]), self.channels[1]), image.dtype)
        return Made(pixels, self._make(image, index, _filler(pixels), compare, advance, by_rows=False))

    def make_rows(
        self,
        image: Pixels,
        index: int,
        take: Take,
        *,
        compare: bool = True,
        advance: Advance = lambda done, total: None,
    ) -> Seams | None:
        """Give `take` the rows of a result (n, W', C) from the top down; return how tiles differ, if `compare`.

        The result as a whole is never in memory, if the image can be tiled.
        """
        self.admit(*image.shape[:2], itemsize=image.itemsize, by_rows=True)
        return self._make(image, index, take, compare, advance, by_rows=True)

    def _make(
        self, image: Pixels, index: int, take: Take, compare: bool, advance: Advance, *, by_rows: bool
    ) -> Seams | None:
        height, width = image.shape[:2]
        rows, columns = self.padding(height, width)
        if (rows or columns) and not self.pad:
            raise GanExportError(f"an image of {width} x {height}: {self._sizes()}; leave pad=False out, or resize it")
        whole = np.pad(image, ((0, rows), (0, columns), (0, 0)), mode="reflect") if rows or columns else image
        limits = self._limits(height + rows, width + columns, image.itemsize, by_rows=by_rows)
        grid = self._grid(height + rows, width + columns, limits)
        h, w = self.output_size(height, width)
        if grid is None or grid.count == 1:
            take(self._through(whole, index)[:h, :w])
            advance(1, 1)
            return None
        assert self.reach is not None
        check = tiles.SeamCheck(whole, grid, self.reach, limits) if compare else None
        left = h

        def through(piece: Pixels) -> Pixels:
            return self._through(piece, index)

        def cropped(band: Pixels) -> None:
            nonlocal left
            if check is not None:
                check.take(band)
            if left:
                take(band[:left, :w])
            left -= min(left, len(band))

        tiles.run(whole, grid, through, cropped, advance)
        return check.seams(through) if check is not None else None

    def padding(self, height: int, width: int) -> tuple[int, int]:
        """Return the rows and columns that an image of this size lacks.  Raises GanExportError if it is too large."""
        return self._lacking("H", height), self._lacking("W", width)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of what comes out for an image of this size, padding cut off."""
        return self._scaled("H", height), self._scaled("W", width)

    def admit(self, height: int, width: int, *, itemsize: int = 1, by_rows: bool = False) -> None:
        """Raise GanExportError for an image that needs more than `tiling.max_memory`, before it is read.

        itemsize: bytes per value of it and its result; by_rows: whether its result is made row by row
        """
        rows, columns = self.padding(height, width)
        limits = self._limits(height + rows, width + columns, itemsize, by_rows=by_rows)
        self._grid(height + rows, width + columns, limits)

    def fits(self, height: int, width: int, size: tuple[int, int], itemsize: int) -> bool:
        """Return whether an image and its result, as it is and scaled to `size`, fit into `tiling.max_memory`."""
        made = max(math.prod(self.output_size(height, width)), math.prod(size))
        return self._held(height * width, made, itemsize) < self.tiling.max_memory

    def _through(self, image: Pixels, index: int) -> Pixels:
        """An image (H, W, C) of a size that the generator takes, at once."""
        self._check_size(*image.shape[:2])
        wide = image.dtype == np.uint16
        given: dict[str, Any] = {self._input.name: self._values(image)}
        feeds = self.signature.feeds(self.seed, [index], **given)
        outputs = self.session.run(feeds_for(self.session, self.signature, feeds))
        made = self.signature.to_bytes(outputs)
        check_outputs(made, 1, self.signature.as_bytes(), self.signature.sizes_of(feeds))
        port = self._output
        result: Pixels = made[port.name][0]
        if wide and outputs[port.name].dtype == np.uint8:
            result = result.astype(np.uint16) * np.uint16(257)
        elif wide:
            levels = byte_rule.levels_of_16_bits(outputs[port.name], port.range)
            result = np.ascontiguousarray(np.moveaxis(levels, 1 + port.axis("C"), -1))[0]
        return result

    def _values(self, image: Pixels) -> npt.NDArray[np.generic]:
        """An image (H, W, C) as the input port takes it, (1, ...)."""
        port = self._input
        laid = np.moveaxis(image, -1, port.axis("C"))[None]
        if port.dtype == "uint8":
            return np.ascontiguousarray(laid if image.dtype == np.uint8 else np.rint(laid / 257)).astype(np.uint8)
        low, high = port.range or (-1.0, 1.0)
        scale = np.float32((high - low) / np.iinfo(image.dtype).max)
        return np.ascontiguousarray(laid.astype(np.float32) * scale + np.float32(low)).astype(port.dtype)

    @linked(Topic.LARGE_IMAGES)
    def _grid(self, height: int, width: int, limits: tiles.Limits) -> tiles.Grid | None:
        """The tiles of an image, padding included; None if it goes through at once."""
        room, fixed = limits.room, limits.fixed
        larger = fixed is not None and (height > fixed[0] or width > fixed[1])
        if self.why_whole or self.reach is None:
            needed = limits.cost.of(height, width)
            if needed > room:
                raise GanExportError(
                    f"an image of {width} x {height} needs about {needed >> 20:,} MiB at once, and can't be tiled: "
                    f"{self.why_whole}; resize it, or raise max_memory="
                )
            self._check_size(height, width)
            return None
        fits = limits.cost.of(height, width) <= room and (limits.rows is None or height <= limits.rows)
        if self.tiling.tile is None and not larger and fits:
            return None
        return tiles.grid(height, width, self.tiling, self.reach, limits)

    def _held(self, taken: int, made: int, itemsize: int) -> int:
        """The bytes of an image and a result of these numbers of pixels."""
        return _COPIES * itemsize * (taken * self.channels[0] + made * self.channels[1])

    @linked(Topic.LARGE_IMAGES)
    def _limits(self, height: int, width: int, itemsize: int, *, by_rows: bool) -> tiles.Limits:
        """The limits of a tile.  Raises GanExportError if the images alone need more than `max_memory`."""
        h, w = self.output_size(height, width)
        by_rows = by_rows and not self.why_whole
        own = self._held(height * width, 0 if by_rows else h * w, itemsize)
        left = self.tiling.max_memory - own
        if left <= 0:
            result = "" if by_rows else f" and its result of {w} x {h}"
            raise GanExportError(
                f"an image of {width} x {height}{result} need{'s' * by_rows} {own >> 20:,} MiB, more than "
                f"max_memory={self.tiling.max_memory >> 20:,}M; resize it, or raise max_memory="
            )
        rows_at_once = None
        if by_rows:  # a half for the rows of one row of tiles, a half for a tile
            left //= 2
            rows_at_once = left * height // max(self._held(0, h * w, itemsize), 1)
        room = left
        if self.reach is not None and not self.reach.whole:
            area = _MOST_VALUES * height * width // max(height * width * self.channels[0], h * w * self.channels[1])
            room = min(left, self._cost.of(1, area))
        least = max((s.least for s in self.signature.sizes.values()), default=1)
        return tiles.Limits(room, self._cost, self._fixed(), least, rows_at_once)

    def _measure(self) -> tiles.Cost:
        """Return the cost of an image, by the session's figures for two sizes; an estimate if it has none."""
        estimate = tiles.Cost(0) if self.reach is None else tiles.estimated(self.reach)
        if not isinstance(self.session, StatesMemory) or self._fixed():
            return estimate
        measured: list[tuple[int, int]] = []  # pixels and bytes of each size
        for side in _MEASURED:
            height, width = (side + lacking for lacking in self.padding(side, side))
            if (needed := self.session.memory(height, width)) is None:
                return estimate
            h, w = self.output_size(height, width)
            own = _FLOAT * (height * width * self.channels[0] + _COPIES * h * w * self.channels[1])
            measured.append((height * width, needed + own))
        (few, less), (many, more) = measured
        per_pixel = (more - less) / max(many - few, 1)
        return tiles.Cost(per_pixel, max(0, less - int(per_pixel * few)))

    def _fixed(self) -> tuple[int, int] | None:
        port = self._input
        height, width = (port.shape[port.axis(letter)] for letter in ("H", "W"))
        return (height, width) if isinstance(height, int) and isinstance(width, int) else None

    def _lacking(self, letter: str, value: int) -> int:
        symbol, fixed, _ = dim_parts(self._input.shape[self._input.axis(letter)])
        allowed = self.signature.sizes[symbol].nearest(value) if symbol else fixed
        if allowed < value and self.tiling.tile is not None and self.reach is not None and not symbol:
            allowed = -(-value // self.reach.multiple) * self.reach.multiple
        if allowed < value:
            raise GanExportError(
                f"an image of {value} pixels in {letter}: {self._sizes()}; resize it (resize=)"
                + ("" if self.why_whole else ", or tile it (tile=0)")
            )
        return allowed - value

    def _scaled(self, letter: str, value: int) -> int:
        symbol, times, over = dim_parts(self._output.shape[self._output.axis(letter)])
        if symbol:
            return value * times // over
        _, before, _ = dim_parts(self._input.shape[self._input.axis(letter)])
        return value * times // before

    @linked(Topic.LARGE_IMAGES)
    def _check_size(self, height: int, width: int) -> None:
        h, w = self.output_size(height, width)
        for inside, channels in ((height * width, self.channels[0]), (h * w, self.channels[1])):
            if inside * channels > _MOST_VALUES:
                why = f" ({self.why_whole})" if self.why_whole else ""
                raise GanExportError(
                    f"an image of {width} x {height} is too large to go through at once{why}; resize it"
                )

    def _sizes(self) -> str:
        port = self._input
        sides = [port.shape[port.axis(letter)] for letter in ("H", "W")]
        if all(isinstance(side, int) for side in sides):
            return f"the generator takes {sides[1]} x {sides[0]}"
        size = next(iter(self.signature.sizes.values()))
        return f"the generator takes multiples of {size.multiple} from {size.least} to {size.most}"


def _filler(result: Pixels) -> Take:
    """Return what writes the rows of a result (H', W', C) into `result`, from the top down."""
    row = 0

    def take(band: Pixels) -> None:
        nonlocal row
        result[row : row + len(band)] = band
        row += len(band)

    return take


@contextlib.contextmanager
def open_image_generator(
    path: Path | str,
    overrides: ReadOptions | None = None,
    *,
    seed: int = 0,
    pad: bool = True,
    tiling: Tiling | None = None,
    runtime: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    strict: bool = False,
) -> Iterator[ImageGenerator]:
    """Load a checkpoint or an artifact that takes images.

    Raises GanExportError for a generator that takes something else, and what `opening.open_generator` does.
    """
    with opened(Path(path), overrides, runtime=runtime, device=device, threads=threads, strict=strict) as found:
        yield ImageGenerator(
            found.signature, found.session, seed, pad, found.warnings, found.reading, found.reach, tiling or Tiling()
        )
