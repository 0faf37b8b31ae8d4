"""What a `.gan` file says of itself without its layers: docs/gan-file-format.md, versions 1 to 3."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from gan_export.errors import GanExportError

_VERSION_AT = 8
_OLD_FACTS, _OLD_FACTS_AT = struct.Struct("<IIIIII2f"), 60  # nz, prior, classes, image, range
_OLD_TYPE_AT = 128 + 112  # of the first layer's weights, which is all layers'
_OLD_SUMS_AT = 96
_HEADER, _PORT, _SIZE = 144, 192, 32
_SUMS_AT = 112
_MOST_PORTS, _MOST_LAYERS = 128, 16384
_LATENT, _LABEL = 0, 2  # kinds
_UNIFORM = 2  # of the priors
_WORD = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Header:
    """The generator of a `.gan` file.

    prior: 0 normal, 1 uniform; image: (C, H, W); range: (low, high), (-1, 1) if nothing bounds the values
    stored: the type of the weights: 0 float32, 1 float16, 2 bfloat16
    """

    nz: int
    prior: int
    classes: int
    image: tuple[int, int, int]
    range: tuple[float, float]
    stored: int


def read(f: BinaryIO) -> Header:
    """Read the header of an open `.gan` file.  Raises GanExportError if it is cut off or of a form not read here."""
    f.seek(0)
    head = f.read(_HEADER)
    if len(head) < _HEADER:
        raise _cut_off()
    if version_of(head) < 3:
        f.seek(_OLD_TYPE_AT)
        stored = f.read(4)
        if len(stored) < 4:
            raise _cut_off()
        nz, prior, classes, c, h, w, low, high = _OLD_FACTS.unpack_from(head, _OLD_FACTS_AT)
        return Header(nz, prior, classes, (c, h, w), (low, high), int.from_bytes(stored, "little"))
    layers, ports, sizes = struct.unpack_from("<III", head, 56)
    if ports > _MOST_PORTS or sizes > _MOST_PORTS or layers > _MOST_LAYERS:
        raise GanExportError("a .gan file with a damaged header")
    nz = prior = classes = 0
    image, interval = (0, 0, 0), (-1.0, 1.0)
    for _ in range(ports):
        row = f.read(_PORT)
        if len(row) < _PORT:
            raise _cut_off()
        is_output, kind, _, rank, *dims = struct.unpack_from("<4I18I", row)
        if is_output and rank == 3:
            image = dims[1], dims[4], dims[7]
            low, high = struct.unpack_from("<2f", row, 112)
            interval = (low, high) if (low, high) != (0.0, 0.0) else (-1.0, 1.0)
        elif not is_output and kind == _LATENT:
            nz, prior = dims[1], int(struct.unpack_from("<I", row, 92)[0] == _UNIFORM)
        elif not is_output and kind == _LABEL:
            (classes,) = struct.unpack_from("<I", row, 104)
    f.seek(sizes * _SIZE, 1)
    return Header(nz, prior, classes, image, interval, _stored_type(f, layers))


def version_of(head: Sequence[int] | bytes) -> int:
    """Return the version that a file's first bytes state."""
    return int.from_bytes(bytes(head[_VERSION_AT : _VERSION_AT + 4]), "little")


def patched_sums(head: bytes, at: int, data: bytes, end: int) -> tuple[int, bytes]:
    """Return where the checksum of the first `end` bytes lies, and what it is once `data` replaces the bytes at `at`.

    head: those bytes at least; what is replaced lies outside the checksum itself
    """
    first, last = at // 8, -(-(at + len(data)) // 8)
    if 8 * last > end or end > len(head):
        raise ValueError("its manifest lies outside the header's part")
    before = bytes(head[8 * first : 8 * last])
    after = bytearray(before)
    after[at - 8 * first : at - 8 * first + len(data)] = data
    words = list(
        zip(struct.unpack(f"<{last - first}Q", before), struct.unpack(f"<{last - first}Q", after), strict=True)
    )
    if version_of(head) < 3:
        one, two = struct.unpack_from("<QQ", head, _OLD_SUMS_AT)
        one += sum(new - old for old, new in words)
        two += sum((first + i + 1) * (new - old) for i, (old, new) in enumerate(words))
        return _OLD_SUMS_AT, struct.pack("<QQ", one & _WORD, two & _WORD)
    one, two = struct.unpack_from("<QQ", head, _SUMS_AT)
    change = 0
    for old, new in words:
        one ^= old ^ new
        change = _times_x(change) ^ old ^ new
    return _SUMS_AT, struct.pack("<QQ", one, two ^ _times(change, _power_of_x(-(-end // 8) - last)))


def _stored_type(f: BinaryIO, layers: int) -> int:
    """The type of the first tensor of any record; float32 if there is none."""
    for _ in range(layers):
        fixed = f.read(24)
        if len(fixed) < 24:
            raise _cut_off()
        size, _, inputs, tensors = struct.unpack_from("<4I", fixed)
        if tensors:
            f.seek(8 * -(-inputs // 2), 1)
            kinds = f.read(8)
            if len(kinds) < 8:
                raise _cut_off()
            return int(struct.unpack("<II", kinds)[1])
        f.seek(max(size, 24) - 24, 1)
    return 0


def _times_x(value: int) -> int:
    """Multiply by x in GF(2^64) modulo x^64 + x^4 + x^3 + x + 1."""
    return (value << 1 & _WORD) ^ (0x1B if value >> 63 else 0)


def _times(one: int, two: int) -> int:
    product = 0
    for bit in range(63, -1, -1):
        product = _times_x(product) ^ (one if two >> bit & 1 else 0)
    return product


def _power_of_x(exponent: int) -> int:
    result, square = 1, 2
    while exponent:
        if exponent & 1:
            result = _times(result, square)
        square = _times(square, square)
        exponent >>= 1
    return result


def _cut_off() -> GanExportError:
    return GanExportError("a .gan file that is cut off")
