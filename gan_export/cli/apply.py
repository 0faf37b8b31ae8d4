"""gan-sample apply: images through a generator that takes images."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gan_export.cli import common, tables
from gan_export.cli.loading import Loading
from gan_export.cli.options import Seed
from gan_export.cli.progress import Progress
from gan_export.cli.say import say, suggest
from gan_export.errors import GanExportError

if TYPE_CHECKING:
    from gan_export.sampling.tiles import Seams

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def apply(
    file: Annotated[Path, typer.Argument(help="A checkpoint or an export that takes an image.")],
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="An image, a folder of images, or a video.")],
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="The image, the folder or the video to write.")],
    resize: Annotated[
        str | None,
        typer.Option("--resize", help="Resize images first: 256, or 256x512 (height x width).", metavar="HxW"),
    ] = None,
    side: Annotated[
        str | None, typer.Option("--side", help="Take this half of pix2pix's paired images: left or right.")
    ] = None,
    no_pad: Annotated[
        bool, typer.Option("--no-pad", help="Refuse sizes that the generator doesn't take, instead of padding.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Leave out images whose result is there.")] = False,
    fail_on_unreadable: Annotated[
        bool, typer.Option("--fail-on-unreadable", help="Stop at a file that can't be read, instead of skipping it.")
    ] = False,
    outscale: Annotated[
        float | None,
        typer.Option("--outscale", help="Scale each result to this multiple of its image's size, by Lanczos."),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            "--tile",
            help="Split images into tiles of this many pixels a side; 0 for as many as --max-memory allows.",
            show_default="only images that need more than --max-memory",
            metavar="PX",
        ),
    ] = None,
    tile_overlap: Annotated[
        str,
        typer.Option(
            "--tile-overlap",
            help="Pixels that a tile reads around itself, or full: as many as the generator sees.",
            metavar="PX|full",
        ),
    ] = "16",
    max_memory: Annotated[
        str, typer.Option("--max-memory", help="Memory for images and layers, such as 500M or 8G.", metavar="BYTES")
    ] = "4G",
    bits: Annotated[
        int | None,
        typer.Option("--bits", help="Bits per channel of the results: 8, or 16 for PNGs.", show_default="as the image"),
    ] = None,
    side_by_side: Annotated[
        bool,
        typer.Option("--side-by-side", help="Write before and after as one image too, and for a folder a sheet."),
    ] = False,
    seed: Seed = 0,
    loading: Loading,
) -> None:
    """Write what FILE makes of INPUT to OUT: of an image an image, of a folder a folder of PNGs, of a video a video."""
    from gan_export.sampling import apply as applying
    from gan_export.sampling import tiles, video
    from gan_export.sampling.apply_files import ApplyOptions, apply_to_files

    common.print_program(file)
    if side not in (None, "left", "right"):
        raise GanExportError(f"--side {side}: must be left or right")
    options = ApplyOptions(_size(resize), side, resume, fail_on_unreadable, outscale, bits, side_by_side)
    tiling = tiles.Tiling(tile, _overlap(tile_overlap), _bytes(max_memory))
    is_video = source.suffix.lower() in video.SUFFIXES and not source.is_dir()
    if is_video or source.is_dir():
        common.if_interrupted("add --resume to the same command to continue")
    with applying.open_image_generator(
        file, loading.overrides, seed=seed, pad=not no_pad, tiling=tiling, **loading.settings()
    ) as generator:
        common.print_warnings(generator.warnings)
        with contextlib.ExitStack() as bars:
            if is_video:
                identity = repr((file.stat().st_size, file.stat().st_mtime_ns, loading.overrides, seed, no_pad, tiling))
                film = video.apply_to_video(generator, source, out, options, identity=identity, progress=_bar_of(bars))
                there = f"; {film.there} were there" * bool(film.there)
                say(f"wrote {film.frames} frames to {out}, {'with' if film.sound else 'without'} sound{there}")
                if generator.reading is not None:
                    suggest("gan-export", "onnx", file)
                tables.print_how_read(generator.reading)
                return
            done = apply_to_files(generator, source, out, options, progress=_bar_of(bars))
    for reason in done.skipped:
        say(f"skipped {reason}")
    parts = [f"wrote {done.written} image{'s' * (done.written != 1)} to {out}"]
    parts += [f"{done.padded} padded by reflection and cropped back"] * bool(done.padded)
    parts += [f"{done.there} were there"] * bool(done.there)
    parts += [f"{len(done.skipped)} skipped"] * bool(done.skipped)
    parts += [f"{done.tiled} in tiles"] * bool(done.tiled)
    parts += [f"{done.narrowed} of 16 bits read as 8, which this export takes"] * bool(done.narrowed)
    say("; ".join(parts))
    if done.seams is not None:
        say(_about(done.seams))
    if done.shown:
        say(f"{done.shown} pairs of before and after in {out / 'side-by-side.png'}")
    if generator.reading is not None:
        suggest("gan-export", "onnx", file)
    elif source.is_file():
        suggest("gan-sample", "apply", file, "FOLDER", "-o", "results", "--side-by-side")
    elif side_by_side:
        suggest("gan-export", "verify", file)
    else:
        suggest("gan-sample", "apply", file, source, "-o", out, "--side-by-side", "--resume")
    tables.print_how_read(generator.reading)


def _about(seams: Seams) -> str:
    height, width = seams.piece
    return (
        f"{seams.tiles} tiles with {seams.overlap} pixels of overlap: at their seams, in a piece of "
        f"{width} x {height}, they differ from the untiled result by at most {seams.largest} of {seams.levels} levels "
        f"(mean {seams.mean:.2g})"
    )


def _overlap(text: str) -> int | None:
    """Pixels of `--tile-overlap`; None for full."""
    if text == "full":
        return None
    if not (text.isascii() and text.isdecimal() and int(text[:9]) <= 1 << 16):
        raise GanExportError(f"--tile-overlap {text}: must be a number of pixels, or full")
    return int(text)


def _bytes(text: str) -> int:
    """Bytes of `--max-memory`: a number, or one of MiB or GiB that ends in M or G."""
    number, unit = (text[:-1], text[-1:].upper()) if text[-1:].upper() in _UNITS else (text, "")
    if not (number.isascii() and number.isdecimal() and int(number[:15]) > 0 and len(number) <= 15):
        raise GanExportError(f"--max-memory {text}: must be bytes, or such as 500M or 8G")
    return int(number) * _UNITS.get(unit, 1)


def _bar_of(bars: contextlib.ExitStack) -> Callable[[int, int], None]:
    """Return what shows (images done, in all) as a progress bar that ends with `bars`."""
    shown: list[Progress] = []
    before = 0

    def advance(done: int, total: int) -> None:
        nonlocal before
        if not shown:
            shown.append(bars.enter_context(Progress(total, least=2)))
        shown[0](done - before)
        before = done

    return advance


def _size(text: str | None) -> tuple[int, int] | None:
    """Height and width of `--resize`."""
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(s.isascii() and s.isdecimal() and 0 < int(s[:9]) <= 1 << 16 for s in sides):
        raise GanExportError(f"--resize {text}: must be 1 to {1 << 16} pixels, or HEIGHTxWIDTH")
    return int(sides[0]), int(sides[-1])
