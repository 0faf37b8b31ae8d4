"""Read the header of a `.gan` file without its layers: docs/gan-file-format.md, versions 1 to 3."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from gan_export.errors import GanExportError

_VERSION_AT = 8
_OLD_FACTS, _OLD_FACTS_AT = struct.Struct("<IIIIII2f"), 60  # nz, prior, classes, image, range
_OLD_TYPE_AT = 128 + 112  # type of the first layer's weights, which all layers share
_OLD_SUMS_AT = 96
_HEADER, _PORT, _SIZE = 144, 192, 32
_SUMS_AT = 112
_MOST_PORTS, _MOST_LAYERS = 128, 16384
_LATENT, _LABEL, _IMAGE = 0, 2, 5  # kinds
_FURTHER = {3: "scalar", 4: "noise", 9: "values"}  # likewise
_UNIFORM = 2  # of the priors
_WORD = (1 << 64) - 1


Dims = tuple[tuple[int, int, int], ...]  # symbol (0, or 1 + the index of a size), multiplier, divisor


@dataclass(frozen=True, slots=True)
class Taken:
    """The image that a generator takes: its shape and range, and (least, multiple, most) of each size."""

    shape: Dims
    range: tuple[float, float]
    sizes: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Further:
    """An input that is no latent, label or image: the kind of its port, its name, and its dimensions."""

    kind: str
    name: str
    dims: Dims

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Its shape; None for a side that follows the image's."""
        return tuple(None if symbol else times for symbol, times, _ in self.dims)


@dataclass(frozen=True, slots=True)
class Header:
    """The generator that a `.gan` file's header describes.

    nz: 0 for a generator that takes an image, `taken`, or values; prior: 0 normal, 1 uniform
    image: (C, H, W), or (C, D, H, W) of a volume, (C, L) of a signal, (R, F) of values
    range: (low, high), (-1, 1) if the values are unbounded
    further: values, scalars and noise, in the file's order
    stored: the type of the weights: 0 float32, 1 float16, 2 bfloat16
    made: the output's name, "" in old versions
    """

    nz: int
    prior: int
    classes: int
    image: Dims
    range: tuple[float, float]
    stored: int
    taken: Taken | None = None
    further: tuple[Further, ...] = ()
    made: str = field(default="", compare=False)


def fixed(shape: Sequence[int]) -> Dims:
    """Return the dimensions of a shape of numbers."""
    return tuple((0, side, 1) for side in shape)


def read(f: BinaryIO) -> Header:
    """Read the header of an open `.gan` file; raise GanExportError if it is cut off or of an unsupported form."""
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
        return Header(nz, prior, classes, fixed((c, h, w)), (low, high), int.from_bytes(stored, "little"))
    layers, ports, sizes = struct.unpack_from("<III", head, 56)
    if ports > _MOST_PORTS or sizes > _MOST_PORTS or layers > _MOST_LAYERS:
        raise GanExportError("a .gan file with a damaged header")
    nz = prior = classes = 0
    image, interval = fixed((0, 0, 0)), (-1.0, 1.0)
    taken: tuple[Dims, tuple[float, float]] | None = None
    further, made = [], ""
    for _ in range(ports):
        row = f.read(_PORT)
        if len(row) < _PORT:
            raise _cut_off()
        is_output, kind, _, rank, *dims = struct.unpack_from("<4I18I", row)
        if (is_output and 2 <= rank <= 4) or (rank == 3 and kind == _IMAGE):  # a signal, an image or a volume
            shape = _dims(dims, rank)
            low, high = struct.unpack_from("<2f", row, 112)
            bounds = (low, high) if (low, high) != (0.0, 0.0) else (-1.0, 1.0)
            if is_output:
                image, interval, made = shape, bounds, _name(row)
            else:
                taken = shape, bounds
        elif not is_output and kind == _LATENT:
            nz, prior = dims[1], int(struct.unpack_from("<I", row, 92)[0] == _UNIFORM)
        elif not is_output and kind == _LABEL:
            (classes,) = struct.unpack_from("<I", row, 104)
        elif not is_output and kind in _FURTHER:
            further.append(Further(_FURTHER[kind], _name(row), _dims(dims, min(rank, 6))))
    rows = f.read(sizes * _SIZE)
    if len(rows) < sizes * _SIZE:
        raise _cut_off()
    free = tuple(struct.unpack_from("<3I", rows, _SIZE * i + 16) for i in range(sizes))
    of_images = Taken(*taken, free) if taken else None
    return Header(nz, prior, classes, image, interval, _stored_type(f, layers), of_images, tuple(further), made)


def _name(port: bytes) -> str:
    return port[-64:].rstrip(b"\0").decode("ascii", "replace")


def _dims(numbers: Sequence[int], rank: int) -> Dims:
    return tuple((numbers[i], numbers[i + 1], numbers[i + 2]) for i in range(0, 3 * rank, 3))


def version_of(head: Sequence[int] | bytes) -> int:
    """Return the version that a file's first bytes state."""
    return int.from_bytes(bytes(head[_VERSION_AT : _VERSION_AT + 4]), "little")


def patched_sums(head: bytes, at: int, data: bytes, end: int) -> tuple[int, bytes]:
    """Return the offset of the checksum of the first `end` bytes, and its value with `data` at offset `at`.

    head: those bytes at least; the replaced bytes don't overlap the checksum itself
    """
    first, last = at // 8, -(-(at + len(data)) // 8)
    if 8 * last > end or end > len(head):
        raise ValueError("its manifest is outside the header's part")
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
    """Return the type of the first tensor of any record; float32 if there is none."""
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
