"""Read the safetensors format: a JSON header of names, types, shapes and byte ranges, then the bytes.

Source: huggingface/safetensors, README "Format".
"""

from __future__ import annotations

import math

from gan_export._lib.budget import Budget, read_json
from gan_export.checkpoint.containers.tensors import ITEMSIZES, Storage, Tensor, contiguous
from gan_export.checkpoint.containers.torch import ContainerContents
from gan_export.errors import GanExportError, printable
from gan_export.graph.spec import SPEC_KEY

MAX_HEADER = 100_000_000  # the format's own bound
_TENSOR = 20  # steps per tensor
_LONGEST_NAME = 1024
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def looks_like(data: memoryview) -> bool:
    """Return whether the bytes begin like a safetensors file."""
    return len(data) > 9 and int.from_bytes(data[:8], "little") <= MAX_HEADER and data[8] == 0x7B


def read(data: memoryview, budget: Budget) -> ContainerContents:
    """Return the tensors by name, in the file's order.  Raises GanExportError for bytes that violate the format."""
    size = int.from_bytes(data[:8], "little")
    if 8 + size > len(data):
        raise GanExportError("cut off: a safetensors file whose header is longer than the file; fetch it again")
    try:
        header = read_json(data[8 : 8 + size], budget)
    except (ValueError, RecursionError):
        raise GanExportError("damaged: a safetensors file whose header can't be read; fetch it again") from None
    if not isinstance(header, dict):
        raise _malformed("its header is not a table")
    metadata = header.pop("__metadata__", None)
    spec = metadata.get(SPEC_KEY) if isinstance(metadata, dict) else None
    body = data[8 + size :]
    budget.spend(_TENSOR * len(header))
    root = {name: _tensor(name, entry, body) for name, entry in header.items()}
    _check_ranges(header, len(body))
    return ContainerContents("a safetensors file", root, spec=spec if isinstance(spec, str) else None)


def _tensor(name: str, entry: object, body: memoryview) -> Tensor:
    where = f"the tensor {printable(name, 60)}"
    if len(name) > _LONGEST_NAME:
        raise _malformed(f"{where} has a name of {len(name):,} characters")
    if not isinstance(entry, dict):
        raise _malformed(f"{where} is not a table")
    kind, shape, ends = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(kind, str):
        raise _malformed(f"{where} has no type")
    if kind not in _DTYPES:
        raise GanExportError(f"{where} has the type {printable(kind, 20)}, which isn't read; save it as F32")
    dtype = _DTYPES[kind]
    if not isinstance(shape, list) or not isinstance(ends, list) or len(shape) > 16 or len(ends) != 2:
        raise _malformed(f"{where} has no sound shape and range")
    if not _counts(shape) or not _counts(ends):
        raise _malformed(f"{where} has no sound shape and range")
    if not ends[0] <= ends[1] <= len(body):
        raise _malformed(f"{where} claims bytes that the file doesn't have")
    if math.prod(shape) * ITEMSIZES[dtype] != ends[1] - ends[0]:
        raise _malformed(f"the size of {where} doesn't fit its shape")
    storage = Storage(dtype, (ends[1] - ends[0]) // ITEMSIZES[dtype], body[ends[0] : ends[1]])
    return Tensor(storage, dtype, tuple(shape), contiguous(tuple(shape)))


def _counts(value: object) -> bool:
    return isinstance(value, list) and all(type(v) is int and 0 <= v < 1 << 62 for v in value)


def _check_ranges(header: dict[str, dict[str, list[int]]], size: int) -> None:
    behind = 0
    for start, end in sorted((e["data_offsets"][0], e["data_offsets"][1]) for e in header.values()):
        if start != behind:
            raise _malformed("its tensors overlap or leave gaps")
        behind = end
    if behind != size:
        raise _malformed("bytes are left over after its tensors")


def _malformed(why: str) -> GanExportError:
    return GanExportError(f"a damaged or forged safetensors file: {why}")
