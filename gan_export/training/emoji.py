"""The emoji of a color font as training images.

`emoji.txt` next to this file lists the characters per group; the group is an image's class.  The font is not part of
the package: Debian's package fonts-noto-color-emoji has it, under the SIL Open Font License 1.1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from gan_export.errors import GanExportError, printable
from gan_export.training.decoding import Bytes, Shape, fit

FONT = "NotoColorEmoji.ttf"
PIXELS = 109  # the one size of the bitmaps in FONT: each is 136 x 128 with its margins
_SIDE = 136
_MOST_TABLES = 1000  # of a font; its directory has 16 bytes per table
_MISSING = "\U0010ffff"  # a code point that is no character: a font draws what it draws for a missing one


@cache
def groups() -> dict[str, str]:
    """Return the characters of each group, in the order of the classes."""
    text = resources.files("gan_export.training").joinpath("emoji.txt").read_text(encoding="utf-8")
    pairs = (line.partition(" = ") for line in text.splitlines() if not line.startswith("#"))
    return {name: characters for name, _, characters in pairs}


@dataclass(frozen=True, slots=True)
class Rendered:
    """The emoji of a font.

    characters: those that the font has, (N,)
    images:     each on white, uint8 (N, C, H, W)
    classes:    the index of its group, (N,)
    missing:    the listed characters that the font lacks
    """

    characters: tuple[str, ...]
    images: Bytes
    classes: npt.NDArray[np.int64]
    missing: tuple[str, ...]

    def mirrored(self) -> Bytes:
        """Return the mirror image of each: a second set that is as good as the first."""
        return self.images[..., ::-1]


def render(path: str, shape: Shape) -> Rendered:
    """Return every listed emoji that a font file has; "" is FONT, wherever the system keeps fonts.

    Raises GanExportError if there is no such font, or if it has no color bitmaps of PIXELS.
    """
    font = _open(path)
    nothing = _draw(font, _MISSING).tobytes()
    found: list[tuple[str, Bytes, int]] = []
    missing: list[str] = []
    for group, characters in enumerate(groups().values()):
        for character in characters:
            drawn = _draw(font, character)
            if drawn.getbbox() is None or drawn.tobytes() == nothing:
                missing.append(character)
                continue
            white = Image.new("RGBA", drawn.size, "white")
            plain = Image.alpha_composite(white, drawn).convert("L" if shape[0] == 1 else "RGB")
            found.append((character, fit(plain, shape), group))
    if not found:
        raise GanExportError(f"{printable(path)} has none of the listed emoji; {_ANOTHER}")
    names, images, classes = zip(*found, strict=True)
    return Rendered(names, np.stack(images), np.array(classes, np.int64), tuple(missing))


_ANOTHER = "install Debian's package fonts-noto-color-emoji, or name its font with data.path=FONT"


def _open(path: str) -> ImageFont.FreeTypeFont:
    try:
        if path:
            _check_color(Path(path))
        return ImageFont.truetype(path or FONT, PIXELS, layout_engine=ImageFont.Layout.BASIC)
    except OSError as e:
        if not path:
            raise GanExportError(f"{FONT} is not installed; {_ANOTHER}") from None
        reason = e.strerror or f"it has no images of {PIXELS} pixels, or is damaged ({e})"
        raise GanExportError(f"{printable(path)}: {printable(reason)}; {_ANOTHER}") from None


def _check_color(path: Path) -> None:
    """Raise GanExportError unless the table directory of an OpenType font contains color bitmaps (CBDT)."""
    with open(path, "rb") as f:
        head = f.read(12)
        count = struct.unpack(">H", head[4:6])[0] if len(head) == 12 else 0
        directory = f.read(16 * min(count, _MOST_TABLES))
    tags = {directory[i : i + 4] for i in range(0, len(directory), 16)}
    if not tags & {b"cmap", b"head"}:
        raise GanExportError(f"{printable(str(path))} is not a font; {_ANOTHER}")
    if b"CBDT" not in tags:
        raise GanExportError(f"{printable(str(path))} has no color bitmaps (no table CBDT); {_ANOTHER}")


def _draw(font: ImageFont.FreeTypeFont, character: str) -> Image.Image:
    """Return a character in the middle of a transparent square."""
    square = Image.new("RGBA", (_SIDE, _SIDE))
    left, top, right, bottom = font.getbbox(character)
    at = ((_SIDE - (right - left)) / 2 - left, (_SIDE - (bottom - top)) / 2 - top)
    ImageDraw.Draw(square).text((round(at[0]), round(at[1])), character, font=font, embedded_color=True)
    return square
