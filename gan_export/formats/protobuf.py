"""Read facts of an ONNX or a Core ML file from its protobuf fields, without weights or libraries.

Field numbers: onnx/onnx.proto, and coremltools' Model.proto.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

from gan_export.errors import GanExportError, HostileFileError, printable

_GRAPH, _OPSETS, _METADATA = 7, 8, 14  # of ModelProto
_COREML_USER_DEFINED = (2, 100, 100)  # of Model: description, its metadata, its entries
_LARGEST_TEXT = 1 << 27
_DEEPEST = 64  # nested messages on the way to a tensor
_EXTERNAL = "StringStringEntryProto"
_TO_TENSORS: Mapping[str, Mapping[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto", 6: "GraphProto", 10: "TensorProto", 11: "GraphProto",
        22: "SparseTensorProto", 23: "SparseTensorProto",
    },
    "TensorProto": {13: _EXTERNAL},
}  # fmt: skip


def looks_like_onnx(f: BinaryIO) -> bool:
    """Return whether the file is one message with a graph and opsets."""
    try:
        return {_GRAPH, _OPSETS} <= {number for number, _, _ in _fields(f)}
    except GanExportError:
        return False


def onnx_metadata(f: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """Yield the metadata_props of a model."""
    for number, offset, length in list(_fields(f)):
        if number == _METADATA and length < _LARGEST_TEXT:
            f.seek(offset)
            yield _entry(f.read(length))


def coreml_metadata(f: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """Yield the userDefined entries of a model's metadata."""
    *outer, entries = _COREML_USER_DEFINED
    start, end = 0, None
    for wanted in outer:
        found = [(offset, offset + length) for number, offset, length in _fields(f, start, end) if number == wanted]
        if not found:
            return
        start, end = found[0]
    for number, offset, length in list(_fields(f, start, end)):
        if number == entries and length < _LARGEST_TEXT:
            f.seek(offset)
            yield _entry(f.read(length))


def external_files(path: Path) -> tuple[str, ...]:
    """Return the locations of external weights in the model at `path`, as the model states them, each once."""
    try:
        with open(path, "rb") as f:
            return tuple(dict.fromkeys(_locations(f, "ModelProto", 0, None, 0)))
    except HostileFileError as e:
        raise HostileFileError(f"{printable(path.name)}: {e}") from None
    except GanExportError as e:
        raise GanExportError(f"{printable(path.name)} can't be read as ONNX: {e}") from None


def check_external_data(path: Path) -> None:
    """Raise HostileFileError if a model names weights outside its own folder, GanExportError if they are missing.

    A runtime opens any path that the file states: a stranger's model could otherwise read any file of this machine.
    """
    folder = Path(os.path.realpath(path.parent))
    for name in external_files(path):
        where = f"{printable(path.name)} names weights in {printable(name, 80)}"
        windows = PureWindowsPath(name)
        if "\0" in name or os.path.isabs(name) or windows.drive or windows.root or ".." in windows.parts:
            raise HostileFileError(f"{where}, which is outside its folder; it is refused")
        real = Path(os.path.realpath(folder / name))
        if not real.is_relative_to(folder):
            raise HostileFileError(f"{where}, a link that leads out of its folder; it is refused")
        if not real.is_file():
            raise GanExportError(f"{where}, which is missing; put it next to the file")


def _locations(f: BinaryIO, message: str, start: int, end: int | None, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise HostileFileError("an ONNX file whose graphs are nested too deeply; it is refused")
    within = _TO_TENSORS[message]
    for number, offset, length in _fields(f, start, end):
        kind = within.get(number)
        if kind == _EXTERNAL:
            f.seek(offset)
            key, value = _entry(f.read(min(length, 1 << 16)))
            if key == "location":
                yield value.decode("utf-8", "replace")
        elif kind is not None:
            yield from _locations(f, kind, offset, offset + length, depth + 1)


def _entry(data: bytes) -> tuple[str, bytes]:
    parts = {n: data[offset : offset + length] for n, offset, length in _fields(io.BytesIO(data))}
    return parts.get(1, b"").decode("utf-8", "replace"), parts.get(2, b"")


def _fields(f: BinaryIO, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int]]:
    """Yield (number, offset, length) of each field of the message in start .. end, by default the whole file.

    Raises GanExportError if it is not a message.
    """
    if end is None:
        end = f.seek(0, 2)
    position = start
    while position < end:
        f.seek(position)
        head = f.read(20)
        tag, used = _varint(head, 0)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise GanExportError("not a protobuf message")
        match wire:
            case 0:
                _, after = _varint(head, used)
                begins, length = position + used, after - used
            case 1:
                begins, length = position + used, 8
            case 2:
                length, after = _varint(head, used)
                begins = position + after
            case 5:
                begins, length = position + used, 4
            case _:
                raise GanExportError("not a protobuf message")
        position = begins + length
        if position > end:
            raise GanExportError("a protobuf message that is cut off")
        yield number, begins, length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for i in range(at, min(len(data), at + 10)):
        value |= (data[i] & 0x7F) << shift
        shift += 7
        if data[i] < 0x80:
            return value, i + 1
    raise GanExportError("not a protobuf message")
