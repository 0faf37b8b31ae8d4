"""The safetensors format: a JSON header of names, types, shapes and byte ranges, then the bytes.

Source: huggingface/safetensors, README "Format".
"""

from __future__ import annotations

import json
import math

from gan_export.arch.spec import SPEC_KEY
from gan_export.checkpoint.torch_files import Content
from gan_export.checkpoint.values import ITEMSIZES, Storage, Tensor, contiguous
from gan_export.errors import GanExportError, printable

MAX_HEADER = 100_000_000  # the format's own bound
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def looks_like(data: memoryview) -> bool:
    """Whether a file begins as this format does."""
    return len(data) > 9 and int.from_bytes(data[:8], "little") <= MAX_HEADER and data[8] == 0x7B


def read(data: memoryview) -> Content:
    """Its tensors by name, in the file's order.  Raises GanExportError for what breaks the format."""
    size = int.from_bytes(data[:8], "little")
    if 8 + size > len(data):
        raise GanExportError("cut off: a safetensors file whose header is longer than the file; fetch it again")
    try:
        header = json.loads(bytes(data[8 : 8 + size]), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise GanExportError("damaged: a safetensors file whose header can't be read; fetch it again") from None
    if not isinstance(header, dict):
        raise _forged("its header is no table")
    metadata = header.pop("__metadata__", None)
    spec = metadata.get(SPEC_KEY) if isinstance(metadata, dict) else None
    body = data[8 + size :]
    root = {name: _tensor(name, entry, body) for name, entry in header.items()}
    _check_ranges(header, len(body))
    return Content("a safetensors file", root, spec=spec if isinstance(spec, str) else None)


def _tensor(name: str, entry: object, body: memoryview) -> Tensor:
    where = f"the tensor {printable(name, 60)}"
    if not isinstance(entry, dict):
        raise _forged(f"{where} is no table")
    kind, shape, ends = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(kind, str):
        raise _forged(f"{where} has no type")
    if kind not in _DTYPES:
        raise GanExportError(f"{where} has the type {printable(kind, 20)}, which isn't read; save it as F32")
    dtype = _DTYPES[kind]
    if not _counts(shape) or not _counts(ends) or not isinstance(shape, list) or not isinstance(ends, list):
        raise _forged(f"{where} has no sound shape and range")
    if len(ends) != 2 or not ends[0] <= ends[1] <= len(body):
        raise _forged(f"{where} claims bytes that the file doesn't have")
    if len(shape) > 16 or math.prod(shape) * ITEMSIZES[dtype] != ends[1] - ends[0]:
        raise _forged(f"{where} has another size than its shape says")
    storage = Storage(dtype, (ends[1] - ends[0]) // ITEMSIZES[dtype], body[ends[0] : ends[1]])
    return Tensor(storage, dtype, tuple(shape), contiguous(tuple(shape)))


def _counts(value: object) -> bool:
    return isinstance(value, list) and all(type(v) is int and 0 <= v < 1 << 62 for v in value)


def _check_ranges(header: dict[str, dict[str, list[int]]], size: int) -> None:
    behind = 0
    for start, end in sorted((e["data_offsets"][0], e["data_offsets"][1]) for e in header.values()):
        if start != behind:
            raise _forged("its tensors overlap or leave gaps")
        behind = end
    if behind != size:
        raise _forged("bytes are left over behind its tensors")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name twice")
    return table


def _forged(why: str) -> GanExportError:
    return GanExportError(f"a damaged or forged safetensors file: {why}")
