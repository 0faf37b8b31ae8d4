"""Encode ports, records and a manifest as a `.gan` file of version 3 (docs/gan-file-format.md)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gan_export.errors import GanExportError, printable
from gan_export.formats.gan import GAN_MAGIC

Words = npt.NDArray[np.uint64]

VERSION = 3
HEADER, PORT, SIZE, RECORD, TENSOR, ATTRIBUTE, ALIGN = 144, 192, 32, 24, 48, 24, 64
CHECKSUM = 112  # offset of the head's checksum; the data's follows
MAX_LAYERS, MAX_INPUTS, MAX_NAME, MAX_RANK = 16384, 64, 1024, 6
KINDS = ("latent", "style", "label", "scalar", "noise", "image", "volume", "video", "audio", "values")
DTYPES = ("float32", "float16", "bfloat16", "int64", "uint8", "int8", "int16")
LAYOUTS: Mapping[str, tuple[str, ...]] = {
    "image": ("CHW", "HWC"),
    "volume": ("CDHW", "DHWC"),
    "video": ("CTHW", "TCHW", "THWC"),
    "audio": ("CT", "TC"),
}
PRIORS = ("none", "normal", "uniform", "truncated normal")
ROLES = ("weight", "bias")
Dim = tuple[int, int, int]  # 1 + the index of a size, or 0; multiplier; divisor


@dataclass(frozen=True, slots=True)
class PortEntry:
    """A row of the table of ports.

    output: whether it is an output; then `value` is the index of the value it returns
    shape:  of one image
    prior:  a name of PRIORS and its two numbers: (low, high), or (bound, 0)
    range:  (low, high), None if the values are unbounded
    """

    name: str
    kind: str
    shape: tuple[Dim, ...] = ()
    dtype: str = "float32"
    layout: int = 0
    prior: tuple[str, float, float] = ("none", 0.0, 0.0)
    classes: int = 0
    stream: int = 0
    range: tuple[float, float] | None = None
    output: bool = False
    value: int = 0

    def to_bytes(self) -> bytes:
        """Return the row as bytes."""
        dims = [number for dim in self.shape for number in dim] + [0] * (3 * (MAX_RANK - len(self.shape)))
        return struct.pack(
            "<4I18I2I2f2I2f2I64s",
            self.output, KINDS.index(self.kind), DTYPES.index(self.dtype), len(self.shape),
            *dims,
            self.layout, PRIORS.index(self.prior[0]), *self.prior[1:], self.classes, self.stream,
            *(self.range or (0.0, 0.0)), self.value, 0, self.name.encode(),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SizeEntry:
    """A row of the table of symbolic sizes: multiples of `multiple` from `least` to `most`."""

    name: str
    least: int
    multiple: int
    most: int

    def to_bytes(self) -> bytes:
        """Return the row as bytes."""
        return struct.pack("<16s4I", self.name.encode(), self.least, self.multiple, self.most, 0)


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """An array of a record: its numbers as they are stored, their type and shape."""

    role: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """A layer.  `inputs` are indices of values: first the input ports in order, then the layers."""

    operation: int
    name: str
    inputs: Sequence[int]
    tensors: Sequence[TensorEntry] = ()
    integers: Mapping[str, Sequence[int]] = field(default_factory=dict)
    reals: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def to_bytes(self, offsets: Sequence[int]) -> bytes:
        """Return the record as bytes, with the offsets of its tensors' data."""
        parts = [_filled(struct.pack(f"<{len(self.inputs)}I", *self.inputs), 8)]
        for tensor, offset in zip(self.tensors, offsets, strict=True):
            dims = (*tensor.shape, *[0] * (MAX_RANK - len(tensor.shape)))
            kind = ROLES.index(tensor.role), DTYPES.index(tensor.dtype)
            parts.append(struct.pack("<4I6IQ", *kind, len(tensor.shape), 0, *dims, offset))
        name = _cut(self.name.encode("utf-8", "replace"), MAX_NAME)
        parts.append(_filled(name, 8))
        for key, integers in self.integers.items():
            parts.append(struct.pack(f"<16s2I{len(integers)}q", key.encode(), 0, len(integers), *integers))
        for key, reals in self.reals.items():
            parts.append(struct.pack(f"<16s2I{len(reals)}d", key.encode(), 1, len(reals), *reals))
        rest = b"".join(parts)
        counts = len(self.inputs), len(self.tensors), len(self.integers) + len(self.reals), len(name)
        return struct.pack("<6I", RECORD + len(rest), self.operation, *counts) + rest


def encode(
    ports: Sequence[PortEntry],
    records: Sequence[Record],
    manifest: str = "{}",
    *,
    sizes: Sequence[SizeEntry] = (),
    error_budget: float = 0.0,
    arithmetic: str = "float32",
    batch: int = 0,
) -> bytes:
    """Return the file as bytes; raise GanExportError for more layers, or more inputs of one, than it can contain.

    error_budget: the largest error of a convolution's algorithm over its outputs' spread; 0 allows any
    arithmetic:   the narrowest products that a reader may compute with
    batch:        the fixed batch size of the graph, 0 for any
    """
    if len(records) > MAX_LAYERS:
        raise GanExportError(f"native supports at most {MAX_LAYERS} layers, this generator has {len(records)}")
    rows, data = [], []
    at = 0
    for record in records:
        if len(record.inputs) > MAX_INPUTS:
            raise GanExportError(
                f"native can't store layer {printable(record.name)}: it has {len(record.inputs)} inputs, "
                f"at most {MAX_INPUTS} are supported"
            )
        offsets = []
        for tensor in record.tensors:
            offsets.append(at)
            data.append(_filled(tensor.data, ALIGN))
            at += len(data[-1])
        rows.append(record.to_bytes(offsets))
    tables = b"".join(p.to_bytes() for p in ports) + b"".join(s.to_bytes() for s in sizes)
    layers, text = b"".join(rows), manifest.encode()
    place = HEADER + len(tables) + len(layers)  # offset of the manifest
    rest = tables + layers + text
    rest += bytes(-(HEADER + len(rest)) % ALIGN)
    fixed = struct.pack(
        "<8s2I5Q4IQfII20x",
        GAN_MAGIC, VERSION, HEADER, HEADER + len(rest) + at,
        place, len(text), HEADER + len(rest), at,
        len(records), len(ports), len(sizes), 0, len(layers),
        error_budget, DTYPES.index(arithmetic), batch,
    )  # fmt: skip
    return sealed(fixed + bytes(HEADER - len(fixed)) + rest, b"".join(data))


def sealed(head: bytes, data: bytes) -> bytes:
    """Return a head (everything before the data) with correct checksums, and the data."""
    of_data = struct.pack("<QQ", *checksum(data))
    blank = head[:CHECKSUM] + bytes(16) + of_data + head[HEADER:]
    return blank[:CHECKSUM] + struct.pack("<QQ", *checksum(blank)) + blank[CHECKSUM + 16 :] + data


def checksum(data: bytes) -> tuple[int, int]:
    """Return the xor of the 64-bit words, and their polynomial at x in GF(2^64) by Horner's rule."""
    words = np.frombuffer(_filled(data, 8), "<u8").astype(np.uint64)
    if not len(words):
        return 0, 0
    # parts that are computed side by side; leading zeros change nothing
    lanes = 1 << min(len(words).bit_length() // 2, 12)
    rows = -(-len(words) // lanes)
    pieces = np.zeros(lanes * rows, np.uint64)
    pieces[-len(words) :] = words
    q = np.zeros(lanes, np.uint64)
    power = np.ones(1, np.uint64)
    for column in np.ascontiguousarray(pieces.reshape(lanes, rows).T):
        q = _times_x(q) ^ column
        power = _times_x(power)
    while len(q) > 1:
        q = _times(q[0::2], int(power[0])) ^ q[1::2]
        power = _times(power, int(power[0]))
    return int(np.bitwise_xor.reduce(words)), int(q[0])


def _times_x(q: Words) -> Words:
    """Multiply by x modulo x^64 + x^4 + x^3 + x + 1."""
    return (q << np.uint64(1)) ^ ((q >> np.uint64(63)) * np.uint64(0x1B))


def _times(q: Words, factor: int) -> Words:
    product = np.zeros_like(q)
    for bit in range(63, -1, -1):
        product = _times_x(product)
        if factor >> bit & 1:
            product = product ^ q
    return product


def _filled(data: bytes, unit: int) -> bytes:
    """Return `data` padded with zeros to a multiple of `unit`."""
    return data + bytes(-len(data) % unit)


def _cut(name: bytes, most: int) -> bytes:
    """Return UTF-8 cut between two characters to at most `most` bytes."""
    return name if len(name) <= most else name[:most].decode(errors="ignore").encode()
