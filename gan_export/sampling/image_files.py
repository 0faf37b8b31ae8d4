"""Image files of any kind to pixels (H, W, C) and back, with what a generator doesn't touch: alpha, color profile."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gan_export._lib.fs import atomic_file
from gan_export.errors import GanExportError, first_line, printable
from gan_export.sampling import deep_png
from gan_export.sampling.png_rows import PngRows
from gan_export.sampling.tiles import MAX_MEMORY, Pixels

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # of a generator's channels
_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_ORIENTATION = 0x0112  # EXIF's tag


@dataclass(frozen=True, slots=True)
class Picture:
    """An image in the form that a generator takes.

    pixels: uint8 or uint16 (H, W, C); alpha: (H, W) of that type if the file has it and the generator doesn't take it
    profile: the ICC profile, b"" if there is none
    """

    pixels: Pixels
    alpha: Pixels | None = None
    profile: bytes = b""


@dataclass(frozen=True, slots=True)
class Reading:
    """The settings for reading an image.

    channels: that a generator takes; side: take the left or right half, as pix2pix's paired images need
    resize: then to (height, width), bicubic; bits: 8 or 16 per channel, None for those of a PNG file, else 8
    admit: raises GanExportError for a (height, width, bytes per value) that is too large for the generator, before it
           is decoded
    max_memory: bytes that decoding may take
    """

    channels: int
    resize: tuple[int, int] | None = None
    side: str | None = None
    bits: int | None = None
    admit: Callable[[int, int, int], None] = lambda height, width, itemsize: None
    max_memory: int = MAX_MEMORY


def read(path: Path, how: Reading) -> Picture:
    """Read an image of any mode, turned as its EXIF data says, with the channels that a generator takes.

    Raises GanExportError, beginning with the file's name, for what is no image, an animation, or too large, and
    UnavailableError for an RGB image of 16 bits without imagecodecs.
    """
    from PIL import Image, ImageOps

    try:
        with _of_any_size(), Image.open(path) as opened:
            width, height = opened.size
            if 2 * 4 * height * width > how.max_memory:  # Pillow's image and an array, up to 4 channels
                bound = f"{how.max_memory >> 20:,}M" if how.max_memory >> 20 else f"{how.max_memory:,} bytes"
                raise GanExportError(f"{width} x {height} pixels need more than max_memory={bound}; allow more")
            if (frames := getattr(opened, "n_frames", 1)) > 1:
                raise GanExportError(f"an animation of {frames} frames; give each as an image")
            orientation = opened.getexif().get(_ORIENTATION, 1)  # which decodes a PNG
            height, width = (width, height) if orientation in (5, 6, 7, 8) else (height, width)
            deep = how.bits != 8 and deep_png.is_deep(path)
            admitted = how.resize or (height, width // 2 if how.side else width)
            how.admit(*admitted, 2 if deep or how.bits == 16 else 1)
            profile = opened.info.get("icc_profile") or b""
            if deep:
                return _deep_picture(deep_png.read(path, orientation), how, profile)
            picture = _picture(ImageOps.exif_transpose(opened), how, profile)
        return picture if how.bits != 16 else _deepened(picture)
    except GanExportError as e:
        raise type(e)(f"{printable(str(path))}: {e}") from None
    except (OSError, ValueError, SyntaxError, MemoryError) as e:  # what PIL raises for damaged files
        raise GanExportError(f"{printable(str(path))} can't be read as an image: {first_line(e, 120)}") from None


def write(path: Path, pixels: Pixels, alpha: Pixels | None = None, profile: bytes = b"") -> None:
    """Write (H, W, C) by the suffix of `path`, whole or not at all; alpha (any size) is scaled along.

    uint16 keeps its bits in a PNG and is rounded to 8 for other formats.
    Raises GanExportError for a suffix that isn't known, or for channels that no image file has.
    """
    from PIL import Image

    kind = format_of(path)
    channels = pixels.shape[2]
    _check_channels(channels)
    if alpha is not None:
        alpha = resized(alpha[:, :, None], (pixels.shape[0], pixels.shape[1]))[:, :, 0]
    if pixels.dtype == np.uint16 and kind == "PNG":
        deep = pixels if alpha is None or channels == 4 else np.dstack([pixels, alpha])
        content = deep_png.encode(deep.astype(np.uint16), profile)
        with atomic_file(path) as temporary:
            temporary.write_bytes(content)
        return
    pixels, alpha = eight_bits(pixels), None if alpha is None else eight_bits(alpha)
    image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    if alpha is not None and channels != 4 and kind in ("PNG", "WEBP", "TIFF"):
        image = image.convert("LA" if channels == 1 and kind == "PNG" else "RGBA")
        image.putalpha(Image.fromarray(alpha))
    if kind == "JPEG" and image.mode == "RGBA":
        image = image.convert("RGB")
    settings = {"icc_profile": profile} if profile and kind != "BMP" else {}
    with atomic_file(path) as temporary:
        image.save(temporary, format=kind, **settings)


@contextlib.contextmanager
def rows_of_png(path: Path, size: tuple[int, int], channels: int, like: Picture) -> Iterator[Callable[[Pixels], None]]:
    """Yield what writes the next rows (n, W, channels) of a PNG of `size`, which is there when the context ends.

    like: the image whose type, profile, and alpha scaled along, the file gets.  Raises GanExportError as `write` does.
    """
    _check_channels(channels)
    alpha = like.alpha if channels != 4 else None
    row = 0
    with (
        atomic_file(path) as temporary,
        open(temporary, "wb") as file,
        PngRows(file, size, channels + (alpha is not None), like.pixels.itemsize, like.profile) as png,
    ):

        def write_rows(rows: Pixels) -> None:
            nonlocal row
            if alpha is not None:
                window = Window(alpha[:, :, None], 0, alpha.shape[0])
                rows = np.dstack([rows, resized_rows(window, size, (row, row + len(rows)))])
            png.write(rows)
            row += len(rows)

        yield write_rows


def format_of(path: Path) -> str:
    """Return PIL's name of the format of `path`'s suffix.  Raises GanExportError for an unknown one."""
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise GanExportError(f"{printable(path.name)}: name a file that ends in {', '.join(_FORMATS)}, or a folder")
    return kind


def resized(pixels: Pixels, size: tuple[int, int], *, lanczos: bool = False) -> Pixels:
    """Return (H, W, C) scaled to (height, width) by Pillow, bicubic or Lanczos; 16 bits by its float images."""
    if pixels.shape[:2] == size:
        return pixels
    return _by_plane(pixels, lambda image: image.resize((size[1], size[0]), _way(lanczos=lanczos)))


@dataclass(frozen=True, slots=True)
class Window:
    """Some rows of an image.

    pixels: (n, W, C); first: the row of the image that they begin with; height: of the whole image
    """

    pixels: Pixels
    first: int
    height: int


def reach_of_scaling(step: float, *, lanczos: bool) -> float:
    """Return how many rows away a scaled row reads, if it is `step` rows of the image; 1 of them for rounding."""
    return (3.0 if lanczos else 2.0) * max(step, 1.0) + 1.0


def resized_rows(window: Window, size: tuple[int, int], rows: tuple[int, int], *, lanczos: bool = False) -> Pixels:
    """Return the rows first .. last-1 of an image that is scaled to `size`, of which `window` has what they read.

    As `resized`, but always across first: Pillow chooses the order by the size of what it is given.
    """
    step = window.height / size[0]
    reach = reach_of_scaling(step, lanczos=lanczos)
    start = max(0, math.floor(rows[0] * step - reach))
    stop = min(window.height, math.ceil(rows[1] * step + reach))
    near = window.pixels[start - window.first : stop - window.first]  # because Pillow's parts are in float32
    part = (0, rows[0] * step - start, size[1], min(rows[1] * step, window.height) - start)
    way = _way(lanczos=lanczos)

    def scaled(image: Image) -> Image:
        across = image.resize((size[1], len(near)), way)
        return across.resize((size[1], rows[1] - rows[0]), way, box=part)

    return _by_plane(near, scaled)


def _way(*, lanczos: bool) -> Resampling:
    from PIL import Image

    return Image.Resampling.LANCZOS if lanczos else Image.Resampling.BICUBIC


def _by_plane(pixels: Pixels, scale: Callable[[Image], Image]) -> Pixels:
    """Return (H, W, C) with each channel scaled as an image of bytes, or of floats if it has 16 bits."""
    from PIL import Image

    planes: list[Any] = []
    for i in range(pixels.shape[2]):
        plane = np.ascontiguousarray(pixels[:, :, i])
        scaled = np.asarray(scale(Image.fromarray(plane if plane.dtype == np.uint8 else plane.astype(np.float32))))
        planes.append(scaled if plane.dtype == np.uint8 else np.clip(np.rint(scaled), 0, 65535).astype(np.uint16))
    return np.dstack(planes)


def prepared(rgb: Pixels, channels: int, resize: tuple[int, int] | None, side: str | None) -> Pixels:
    """Return an RGB image (H, W, 3) of 8 bits as a generator takes it, as `read` does."""
    from PIL import Image

    return _picture(Image.fromarray(rgb), Reading(channels, resize, side), b"").pixels


def eight_bits(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """Return pixels of 8 or 16 bits as the nearest of 8."""
    return pixels if pixels.dtype == np.uint8 else ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _check_channels(channels: int) -> None:
    if channels not in _MODES:
        raise GanExportError(f"the generator gives {channels} channels; an image file has 1, 3 or 4")


@contextlib.contextmanager
def _of_any_size() -> Iterator[None]:
    """Lift Pillow's own limit of pixels, because `admit` has a better one."""
    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _picture(image: Image, how: Reading, profile: bytes) -> Picture:
    from PIL import Image as images

    channels, resize = _checked(how), how.resize
    if how.side is not None:
        left, right = _half(image.width, how.side)
        image = image.crop((left, 0, right, image.height))
    if image.mode.startswith(("I", "F")):
        image = _of_wide_values(image)
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    alpha = image.getchannel("A") if "A" in image.getbands() and channels != 4 else None
    if resize is not None:
        size = (resize[1], resize[0])
        image = image.convert(_MODES[channels]).resize(size, images.Resampling.BICUBIC)
        alpha = None if alpha is None else alpha.resize(size, images.Resampling.BICUBIC)
    pixels = np.asarray(image.convert(_MODES[channels]), np.uint8)
    laid = pixels[:, :, None] if pixels.ndim == 2 else pixels
    return Picture(laid, None if alpha is None else np.asarray(alpha, np.uint8), profile)


def _deep_picture(pixels: deep_png.Words, how: Reading, profile: bytes) -> Picture:
    """The same of 16 bits; gray is Rec. 601's, as Pillow's."""
    channels = _checked(how)
    if how.side is not None:
        left, right = _half(pixels.shape[1], how.side)
        pixels = pixels[:, left:right]
    if how.resize is not None:
        pixels = resized(pixels, how.resize).astype(np.uint16)
    alpha = pixels[:, :, -1] if pixels.shape[2] in (2, 4) else None
    colors = pixels[:, :, : 1 if pixels.shape[2] < 3 else 3]
    if channels == 1 and colors.shape[2] == 3:
        gray = colors.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
        colors = np.rint(gray).astype(np.uint16)[:, :, None]
    elif channels != 1:
        colors = np.repeat(colors, 3 // colors.shape[2], axis=2)
    if channels == 4:
        opaque = np.full(colors.shape[:2], 65535, np.uint16)
        return Picture(np.dstack([colors, opaque if alpha is None else alpha]), None, profile)
    return Picture(colors, alpha, profile)


def _deepened(picture: Picture) -> Picture:
    """8 bits as 16: 255 becomes 65535."""
    alpha = None if picture.alpha is None else picture.alpha.astype(np.uint16) * np.uint16(257)
    return Picture(picture.pixels.astype(np.uint16) * np.uint16(257), alpha, picture.profile)


def _checked(how: Reading) -> int:
    if how.channels not in _MODES:
        raise GanExportError(
            f"the generator takes {how.channels} channels, which no image file has; use it from Python"
        )
    return how.channels


def _half(width: int, side: str) -> tuple[int, int]:
    half = width // 2
    if half < 1:
        raise GanExportError("it has no two halves")
    return (0, half) if side == "left" else (half, 2 * half)


def _of_wide_values(image: Image) -> Image:
    """Return 16-bit values as 8-bit ones; PIL's own conversion cuts them off at 255."""
    from PIL import Image as images

    values = np.asarray(image)
    if image.mode == "F":
        raise GanExportError("its values are floats, of no known range")
    return images.fromarray(eight_bits(np.clip(values, 0, 65535).astype(np.uint16)))
