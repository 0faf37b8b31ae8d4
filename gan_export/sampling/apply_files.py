"""A generator that takes images over a file, or over the images of a folder: each result whole or not there."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gan_export.errors import GanExportError, Topic, linked, printable
from gan_export.sampling import image_files, side_by_side
from gan_export.sampling.apply import ImageGenerator
from gan_export.sampling.image_files import Picture
from gan_export.sampling.scaled_rows import ScaledRows
from gan_export.sampling.tiles import Pixels, Seams, Take

Progress = Callable[[int, int], None]
PAIRS = "side-by-side"  # the folder of before and after, and the stem of its sheet
MOST_OUTSCALE = 64.0


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """Options of reading and writing images.

    resize: to (height, width) before the generator; side: the half of a paired image that is taken, left or right
    resume: leave out images whose result is there; fail_on_unreadable: else what can't be read is skipped
    outscale: scale each result to this multiple of its image's size, by Lanczos
    bits: 8 or 16 per channel, None for those of the image
    side_by_side: write an image of before and after for each input, and for a folder one sheet of them
    """

    resize: tuple[int, int] | None = None
    side: str | None = None
    resume: bool = False
    fail_on_unreadable: bool = False
    outscale: float | None = None
    bits: int | None = None
    side_by_side: bool = False

    def __post_init__(self) -> None:
        if self.outscale is not None and not 0 < self.outscale <= MOST_OUTSCALE:
            raise GanExportError(f"outscale={self.outscale}: must be above 0 and at most {MOST_OUTSCALE:g}")
        if self.bits not in (None, 8, 16):
            raise GanExportError(f"bits={self.bits}: must be 8 or 16")


@dataclass(frozen=True, slots=True)
class Applied:
    """The counts of images that were written, padded and left out, and the reason for each that can't be read.

    seams: how the tiles of the first image that was tiled differ from the untiled result
    tiled: images that were tiled; shown: pairs on the sheet; narrowed: images of 16 bits that the export took as 8
    """

    written: int = 0
    padded: int = 0
    there: int = 0
    skipped: tuple[str, ...] = ()
    tiled: int = 0
    seams: Seams | None = None
    shown: int = 0
    narrowed: int = 0


@dataclass(frozen=True, slots=True)
class _Job:
    """An image, its result, its image of before and after if one is wanted, and its index."""

    source: Path
    result: Path
    pair: Path | None
    index: int

    @property
    def is_there(self) -> bool:
        return self.result.is_file() and (self.pair is None or self.pair.is_file())


@dataclass(frozen=True, slots=True)
class _Done:
    padded: bool
    seams: Seams | None
    tiled: bool
    narrowed: bool


@linked(Topic.APPLY)
def apply_to_files(
    generator: ImageGenerator,
    source: Path,
    target: Path,
    options: ApplyOptions | None = None,
    *,
    progress: Progress = lambda done, total: None,
) -> Applied:
    """Write what `generator` makes of `source` to `target`: a file to a file, a folder's images to a folder of PNGs.

    Image i of the folder, in order of the names, has index i.  `progress` is called with the images done and in all;
    for one file, with its tiles.
    Raises GanExportError for an input that is its own output, an empty folder, and if no image can be read.
    """
    options = options or ApplyOptions()
    jobs = _jobs(source, target, options)
    alone = source.is_file()
    there = 0
    done: list[_Done] = []
    skipped: list[str] = []
    for job in jobs:
        if options.resume and job.is_there:
            there += 1
        else:
            try:
                compare = not any(d.tiled for d in done)
                done.append(_one(generator, job, options, compare, progress if alone else lambda done, total: None))
            except UnreadableError as e:
                if options.fail_on_unreadable or len(jobs) == 1:
                    raise
                skipped.append(str(e))
        if not alone:
            progress(job.index + 1, len(jobs))
    if not done and not there:
        raise GanExportError(f"{skipped[0]}; and none of the other {len(skipped) - 1} files can be read either")
    return Applied(
        written=len(done),
        padded=sum(d.padded for d in done),
        there=there,
        skipped=tuple(skipped),
        tiled=sum(d.tiled for d in done),
        seams=next((d.seams for d in done if d.seams), None),
        shown=_write_sheet(jobs, target) if options.side_by_side and not alone else 0,
        narrowed=sum(d.narrowed for d in done),
    )


def scaled_size(pixels: Pixels, times: float) -> tuple[int, int]:
    """Return the height and width that are `times` those of an image (H, W, C)."""
    return _times((pixels.shape[0], pixels.shape[1]), times)


def _times(size: tuple[int, int], times: float) -> tuple[int, int]:
    return max(1, int(size[0] * times)), max(1, int(size[1] * times))


class UnreadableError(GanExportError):
    """A file that can't be used as an image."""


def _one(generator: ImageGenerator, job: _Job, options: ApplyOptions, compare: bool, advance: Progress) -> _Done:
    is_png = job.result.suffix.lower() == ".png"
    bits = options.bits or (None if is_png else 8)
    narrow = bits != 8 and not generator.takes_16_bits
    tiles = 0

    def by_rows(height: int, width: int, itemsize: int) -> bool:
        return not generator.fits(height, width, _final_size(generator, height, width, options), itemsize)

    @linked(Topic.LARGE_IMAGES)
    def admit(height: int, width: int, itemsize: int) -> None:
        large = by_rows(height, width, itemsize)
        generator.admit(height, width, itemsize=itemsize, by_rows=large)
        if large and not is_png:
            h, w = _final_size(generator, height, width, options)
            raise GanExportError(
                f"its result of {w} x {h} needs more than max_memory=; name a .png, which is written row by row, "
                "or raise max_memory="
            )

    how = image_files.Reading(
        generator.channels[0], options.resize, options.side, bits, admit, generator.tiling.max_memory
    )

    def count(done: int, total: int) -> None:
        nonlocal tiles
        tiles = total
        advance(done, total)

    try:
        picture = image_files.read(job.source, how)
        height, width = picture.pixels.shape[:2]
        padding = generator.padding(height, width)
        sizes = generator.output_size(height, width), _final_size(generator, height, width, options)
        if by_rows(height, width, picture.pixels.itemsize):
            with _rows_to(job, picture, sizes, generator.channels[1]) as take:
                seams = generator.make_rows(picture.pixels, job.index, take, compare=compare, advance=count)
        else:
            made = generator.make(picture.pixels, job.index, compare=compare, advance=count)
            seams = made.seams
            _write(job, picture, made.pixels, options)
    except GanExportError as e:
        text = str(e)
        name = printable(str(job.source))
        raise UnreadableError(text if text.startswith(name) else f"{name}: {text}", topic=e.topic) from None
    narrowed = narrow and picture.pixels.dtype == np.uint16
    return _Done(padding != (0, 0), seams, tiles > 1, narrowed)


def _write(job: _Job, picture: Picture, result: Pixels, options: ApplyOptions) -> None:
    if options.outscale is not None:
        result = image_files.resized(result, scaled_size(picture.pixels, options.outscale), lanczos=True)
    image_files.write(job.result, result, picture.alpha, picture.profile)
    if job.pair is not None:
        side_by_side.write_pair(job.pair, picture.pixels, result)


def _final_size(generator: ImageGenerator, height: int, width: int, options: ApplyOptions) -> tuple[int, int]:
    """The height and width of the file for an image of this size."""
    if options.outscale is None:
        return generator.output_size(height, width)
    return _times((height, width), options.outscale)


@contextlib.contextmanager
def _rows_to(
    job: _Job, picture: Picture, sizes: tuple[tuple[int, int], tuple[int, int]], channels: int
) -> Iterator[Take]:
    """Yield what takes the rows of a result and writes them, scaled, so that they are never in memory together.

    sizes: (height, width) of the result as it is made, and of the file
    """
    made, final = sizes
    small: list[Pixels] = []
    with image_files.rows_of_png(job.result, final, channels, picture) as write:
        shown = ScaledRows(final, side_by_side.shown_size(*final), small.append, lanczos=False)

        def take(rows: Pixels) -> None:
            write(rows)
            if job.pair is not None:
                shown.take(rows)

        yield ScaledRows(made, final, take, lanczos=True).take
    if job.pair is not None:
        side_by_side.write_pair(job.pair, picture.pixels, np.concatenate(small))


def _write_sheet(jobs: list[_Job], target: Path) -> int:
    pairs = [(job.source.name, job.pair) for job in jobs if job.pair is not None and job.pair.is_file()]
    return side_by_side.write_sheet(target / f"{PAIRS}.png", pairs)


def _jobs(source: Path, target: Path, options: ApplyOptions) -> list[_Job]:
    pairs = _pairs(source, target)
    if not options.side_by_side:
        return [_Job(*pair, None, i) for i, pair in enumerate(pairs)]
    if source.is_file():
        (file, result) = pairs[0]
        return [_Job(file, result, result.with_name(f"{result.stem}.{PAIRS}.png"), 0)]
    if any(result.name == f"{PAIRS}.png" for _, result in pairs):
        raise GanExportError(f"the folder holds an image {PAIRS}, the name of the sheet; rename it")
    folder = target / PAIRS
    folder.mkdir(exist_ok=True)
    return [_Job(file, result, folder / result.name, i) for i, (file, result) in enumerate(pairs)]


def _pairs(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """Each file and its result."""
    if not source.exists():
        raise GanExportError(f"{printable(str(source))}: no such file or folder")
    if target.exists() and source.samefile(target):
        raise GanExportError(f"{printable(str(source))} is the input; name another output with target=")
    if source.is_file():
        result = target / f"{source.stem}.png" if target.is_dir() else target
        image_files.format_of(result)
        if result.exists() and source.samefile(result):
            raise GanExportError(f"{printable(str(source))} is the input; name another output with target=")
        return [(source, result)]
    if target.is_file() or target.suffix.lower() in image_files.SUFFIXES:
        raise GanExportError(
            f"{printable(str(source))} is a folder: name a folder with target=, not {printable(target.name)}"
        )
    files = sorted(f for f in source.iterdir() if f.is_file() and f.suffix.lower() in image_files.SUFFIXES)
    if not files:
        raise GanExportError(f"{printable(str(source))} holds no images; {', '.join(image_files.SUFFIXES)} are read")
    target.mkdir(parents=True, exist_ok=True)
    stems = Counter(f.stem for f in files)
    return [(f, target / (f"{f.stem}.png" if stems[f.stem] == 1 else f"{f.name}.png")) for f in files]
