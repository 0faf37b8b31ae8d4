"""A font of color bitmaps (CBDT and CBLC, OpenType 1.9), as small as FreeType reads it."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping

from PIL import Image

WIDTH, HEIGHT, PIXELS = 136, 128, 109  # of each bitmap, and their one size, as in Noto Color Emoji
_UNITS = 2048


def font(glyphs: Mapping[str, Image.Image], pixels: int = PIXELS) -> bytes:
    """A font that maps each character to its RGBA picture of WIDTH x HEIGHT; every other one has no picture."""
    characters = sorted(glyphs)
    count = len(characters) + 1  # glyph 0 is that of a missing character
    advances = b"".join(struct.pack(">Hh", _UNITS * WIDTH // pixels, 0) for _ in range(count))
    locations, bitmaps = _bitmaps([glyphs[c] for c in characters], pixels)
    return _file({
        b"CBDT": bitmaps,
        b"CBLC": locations,
        b"cmap": _cmap(characters),
        b"head": struct.pack(">IIIIHHQQhhhhHHhhh", 0x10000, 0x10000, 0, 0x5F0F3CF5, 0, _UNITS, 0, 0,
                             0, 0, _UNITS, _UNITS, 0, 8, 2, 0, 0),
        b"hhea": struct.pack(">IhhhHhhhhhhhhhhhH", 0x10000, 1900, -500, 0, 2550, 0, 0, 0, 1, *[0] * 7, count),
        b"hmtx": advances,
        b"maxp": struct.pack(">IH", 0x5000, count),
    })  # fmt: skip


def _bitmaps(pictures: list[Image.Image], pixels: int) -> tuple[bytes, bytes]:
    """The tables CBLC and CBDT: one strike, its index of format 1, bitmaps of format 17 (small metrics, PNG)."""
    data, offsets = struct.pack(">HH", 3, 0), [0]
    for picture in pictures:
        png = io.BytesIO()
        picture.save(png, "PNG")
        data += struct.pack(">BBbbBI", HEIGHT, WIDTH, 0, 101, WIDTH, len(png.getvalue())) + png.getvalue()
        offsets.append(len(data) - 4)
    index = struct.pack(">HHI", 1, 17, 4) + struct.pack(f">{len(offsets)}I", *offsets)
    pointers = struct.pack(">HHI", 1, len(pictures), 8)
    line = struct.pack(">bbB9b", 101, -27, WIDTH, *[0] * 9)
    size = struct.pack(">IIII", 56, 8 + len(index), 1, 0) + line * 2
    size += struct.pack(">HHBBBb", 1, len(pictures), pixels, pixels, 32, 1)
    return struct.pack(">HHI", 3, 0, 1) + size + pointers + index, data


def _cmap(characters: list[str]) -> bytes:
    groups = b"".join(struct.pack(">III", ord(c), ord(c), i) for i, c in enumerate(characters, 1))
    mapping = struct.pack(">HHIII", 12, 0, 16 + len(groups), 0, len(characters)) + groups
    return struct.pack(">HHHHI", 0, 1, 3, 10, 12) + mapping


def _file(tables: dict[bytes, bytes]) -> bytes:
    at, directory, body = 12 + 16 * len(tables), b"", b""
    for tag, table in tables.items():
        padded = table + bytes(-len(table) % 4)
        directory += struct.pack(">4sIII", tag, 0, at + len(body), len(table))  # FreeType ignores the checksum
        body += padded
    return struct.pack(">IHHHH", 0x10000, len(tables), 64, 2, 48) + directory + body
