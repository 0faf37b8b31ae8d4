"""Represent the content of a checkpoint before anything is computed: records, names, and tensors not read yet.

Nothing here runs code of the file.  A tensor is a validated view of bytes.  Its values are decoded to float32 when
they are needed, so that the optimizer and the discriminator in a checkpoint cost nothing.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gan_export.errors import GanExportError

Float32 = npt.NDArray[np.float32]

# Bytes per element.  Only the sizes of `complex*`, `bits*` and quantized types are needed: nothing decodes them.
ITEMSIZES: dict[str, int] = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1, "bool": 1,
    "complex32": 4, "complex64": 8, "complex128": 16,
    "qint8": 1, "quint8": 1, "qint32": 4, "quint4x2": 1, "quint2x4": 1,
}  # fmt: skip
FLOATS = tuple(d for d in ITEMSIZES if "float" in d)
MAX_DIMS = 16


@dataclass(frozen=True, slots=True)
class GlobalRef:
    """A class or function that a file names.  It is never imported and never called."""

    module: str
    qualname: str

    def __str__(self) -> str:
        return f"{self.module}.{self.qualname}"


@dataclass(slots=True, eq=False)
class OpaqueObject:
    """A record of an object whose class this reader doesn't build.

    args, state: arguments of its construction and of `__setstate__`; items: set by key; elements: appended.
    tensor: the values of a NumPy array.
    """

    name: GlobalRef
    args: object = ()
    state: object = None
    items: dict[object, object] | None = None
    elements: list[object] | None = None
    tensor: Tensor | None = None

    def own_items(self) -> dict[object, object]:
        """Return `items`, created on first use: a file can contain millions of records."""
        if self.items is None:
            self.items = {}
        return self.items

    def own_elements(self) -> list[object]:
        """Return `elements`, created on first use."""
        if self.elements is None:
            self.elements = []
        return self.elements

    def attributes(self) -> dict[object, object]:
        """Return the object's `__dict__`, or {} if its state has another form."""
        state = self.state
        if isinstance(state, tuple) and len(state) == 2 and isinstance(state[0], dict):
            state = state[0]  # (dict, slots)
        return state if isinstance(state, dict) else {}


@dataclass(slots=True, eq=False)
class Storage:
    """A run of `numel` elements of `dtype`.  `data` is set later for files with their bytes at the end."""

    dtype: str
    numel: int
    data: memoryview | None
    crc: int | None = None  # of `data`, if the container has one; checked when the bytes are first read
    big_endian: bool = False

    @property
    def nbytes(self) -> int:
        return self.numel * ITEMSIZES[self.dtype]

    def raw(self) -> memoryview:
        """Return the bytes after verifying their checksum.  Raises GanExportError for damage."""
        if self.data is None:
            raise GanExportError("cut off: the bytes of a tensor are missing; fetch the file again")
        if self.crc is not None:
            if zlib.crc32(self.data) != self.crc:
                raise GanExportError("damaged: a tensor's bytes don't match their checksum; fetch the file again")
            self.crc = None
        return self.data


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A view of a storage: element (i, j, ...) is at offset + i strides[0] + j strides[1] + ... ."""

    storage: Storage
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    def __post_init__(self) -> None:
        check_window(self.shape, self.strides, self.offset, self.storage.nbytes // ITEMSIZES[self.dtype])

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    def floats(self) -> Float32:
        """Return the values as a new C-contiguous float32 array; float64 is rounded to nearest.

        Raises GanExportError for a type that isn't decoded.
        """
        if self.dtype not in FLOATS:
            raise GanExportError(f"a tensor of {self.dtype}; weights must be floats, such as float32")
        order = ">" if self.storage.big_endian else "<"
        size = ITEMSIZES[self.dtype]
        kind = {8: f"{order}f8", 4: f"{order}f4", 2: f"{order}u2", 1: "u1"}[size]
        kind = f"{order}f2" if self.dtype == "float16" else kind
        if not self.numel:
            return np.zeros(self.shape, np.float32)
        whole = np.frombuffer(self.storage.raw(), kind, count=self.storage.nbytes // size)
        steps = tuple(s * size for s in self.strides)
        window = np.lib.stride_tricks.as_strided(whole[self.offset :], self.shape, steps, writeable=False)
        return _to_float32(window, self.dtype)

    def integers(self) -> npt.NDArray[np.int64]:
        """Return the values as a new C-contiguous int64 array.  Raises GanExportError for other types."""
        if not self.dtype.startswith(("int", "uint", "bool")):
            raise GanExportError(f"a tensor of {self.dtype}; it must have whole numbers")
        size = ITEMSIZES[self.dtype]
        order = ">" if self.storage.big_endian else "<"
        kind = f"{order}{'i' if self.dtype.startswith('int') else 'u'}{size}"
        if not self.numel:
            return np.zeros(self.shape, np.int64)
        whole = np.frombuffer(self.storage.raw(), kind, count=self.storage.nbytes // size)
        steps = tuple(s * size for s in self.strides)
        window = np.lib.stride_tricks.as_strided(whole[self.offset :], self.shape, steps, writeable=False)
        return np.array(window, np.int64, order="C")


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return row-major strides, in elements."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * max(shape[i + 1], 1)
    return tuple(strides)


def check_window(shape: tuple[int, ...], strides: tuple[int, ...], offset: int, available: int) -> None:
    """Raise GanExportError unless the view is within `available` elements and has each at most once.

    The check uses Python's integers, so that no stated size overflows, and runs before anything is allocated.
    """
    what = f"a tensor of {len(shape)} dimensions"
    if len(shape) > MAX_DIMS or len(shape) != len(strides):
        raise GanExportError(f"{what} and {len(strides)} strides: damaged or forged")
    for value in (*shape, *strides, offset):
        if type(value) is not int:
            raise GanExportError(f"{what} whose sizes are not integers: damaged or forged")
        if value < 0 or value >= 1 << 62:
            raise GanExportError(f"{what} with a size, stride or offset out of range: damaged or forged")
    if not all(shape):
        return
    reach = 0  # index of the last element of the dimensions so far, smallest stride first
    for stride, size in sorted((st, si) for st, si in zip(strides, shape, strict=True) if si > 1):
        if stride <= reach:
            raise GanExportError(f"{what} whose elements overlap: damaged or forged; save it after .contiguous()")
        reach += (size - 1) * stride
    if offset + reach >= available:
        raise GanExportError(
            f"{what} claims {offset + reach + 1:,} elements of a storage with {available:,}: damaged or forged"
        )


def _to_float32(window: npt.NDArray[np.generic], dtype: str) -> Float32:
    if dtype == "bfloat16":
        wide = window.astype(np.uint32, order="C")
        wide <<= 16  # its upper half
        return wide.view(np.float32)
    if dtype.startswith("float8"):
        return np.ascontiguousarray(_float8_table(dtype)[window.astype(np.uint8)])
    with np.errstate(over="ignore"):  # a float64 beyond float32's range becomes inf, which is reported later
        return np.array(window, dtype=np.float32, order="C")


# exponent bits, mantissa bits, bias.  `fnuz`: 0x80 is the only NaN, no infinity, no negative zero.
_FLOAT8: dict[str, tuple[int, int, int]] = {
    "float8_e4m3fn": (4, 3, 7), "float8_e5m2": (5, 2, 15), "float8_e4m3fnuz": (4, 3, 8), "float8_e5m2fnuz": (5, 2, 16),
}  # fmt: skip


def _float8_table(dtype: str) -> Float32:
    """Return the value of each of the 256 codes (OCP 8-bit floating point 1.0; Graphcore's variant for fnuz)."""
    ebits, mbits, bias = _FLOAT8[dtype]

    def value(code: int) -> float:
        sign = -1.0 if code & 0x80 else 1.0
        exponent, mantissa = (code & 0x7F) >> mbits, code & ((1 << mbits) - 1)
        if dtype.endswith("fnuz"):
            if code == 0x80:
                return math.nan
        elif exponent == (1 << ebits) - 1:
            if dtype == "float8_e5m2":
                return math.nan if mantissa else sign * math.inf
            if mantissa == (1 << mbits) - 1:
                return math.nan
        if exponent == 0:
            return sign * math.ldexp(mantissa, 1 - bias - mbits)
        return sign * math.ldexp((1 << mbits) + mantissa, exponent - bias - mbits)

    return np.array([value(c) for c in range(256)], np.float32)


def as_tensor(value: object) -> Tensor | None:
    """Return the tensor in a value of the file, or None."""
    if isinstance(value, Tensor):
        return value
    return value.tensor if isinstance(value, OpaqueObject) else None
