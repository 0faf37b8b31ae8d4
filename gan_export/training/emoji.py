"""The emoji of a color font as training images.

`emoji.txt` next to this file lists the characters per group; the group is an image's class.  The font is not part of
the package: Debian's package fonts-noto-color-emoji has it, under the SIL Open Font License 1.1.
"""

from __future__ import annotations

import struct
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


def render(path: str, shape: Shape) -> tuple[Bytes, npt.NDArray[np.int64], tuple[str, ...]]:
    """Return every listed emoji on white, then the mirror image of each; their groups; those that the font lacks.

    Images are uint8 (N, C, H, W).  `path` is a font file; "" is FONT, wherever the system keeps fonts.
    Raises GanExportError if there is no such font, or if it has no color bitmaps of PIXELS.
    """
    font = _open(path)
    missing = _draw(font, _MISSING)
    images: list[Bytes] = []
    classes: list[int] = []
    skipped: list[str] = []
    for group, characters in enumerate(groups().values()):
        for character in characters:
            drawn = _draw(font, character)
            if drawn.getbbox() is None or drawn.tobytes() == missing.tobytes():
                skipped.append(f"U+{ord(character):04X}: not in the font")
                continue
            white = Image.new("RGBA", drawn.size, "white")
            plain = Image.alpha_composite(white, drawn).convert("L" if shape[0] == 1 else "RGB")
            images.append(fit(plain, shape))
            classes.append(group)
    if not images:
        raise GanExportError(f"{printable(path)} has none of the listed emoji; {_ANOTHER}")
    both = np.stack(images)
    return np.concatenate((both, both[..., ::-1])), np.array(classes * 2, np.int64), tuple(skipped)


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
