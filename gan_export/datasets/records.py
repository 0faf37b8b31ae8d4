"""Records of a shard's output, by name, size and sha256: files, folders of images, ranges of a shared file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from gan_export._lib.schema import decode
from gan_export.errors import GanExportError


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file, a folder, or a range of a shared file.

    name:     relative to the dataset, with /; a folder's ends with /
    bytes:    its size; for a folder the sum of its files' sizes
    sha256:   of its content; for a folder see TreeDigest
    files:    number of files in a folder, 0 for a file
    offset:   of the first byte of its range of a shared file; None for a file or folder of the shard's own
    """

    name: str
    bytes: int
    sha256: str
    files: int = 0
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """A finished shard: its number, its images, how many of them are kept, and its output files."""

    index: int
    start: int
    count: int
    kept: int
    pieces: tuple[OutputFile, ...]

    @property
    def bytes(self) -> int:
        return sum(p.bytes for p in self.pieces)

    def to_data(self) -> dict[str, Any]:
        """Return the record as JSON data, without fields that don't apply."""
        pieces = []
        for p in self.pieces:
            piece: dict[str, Any] = {"name": p.name, "bytes": p.bytes, "sha256": p.sha256}
            if p.files:
                piece["files"] = p.files
            if p.offset is not None:
                piece["offset"] = p.offset
            pieces.append(piece)
        return {"index": self.index, "start": self.start, "count": self.count, "kept": self.kept, "pieces": pieces}

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> ShardRecord:
        record = decode(ShardRecord, data, "a record of a shard can't be read")
        if min(record.index, record.start, record.count, record.kept, *_counts(record.pieces)) < 0:
            raise GanExportError("a record of a shard can't be read: a number below 0")
        if not all(safe(p.name) for p in record.pieces):
            raise GanExportError("a record of a shard that names a path outside its folder")
        return record


def _counts(pieces: Iterable[OutputFile]) -> list[int]:
    return [n for p in pieces for n in (p.bytes, p.files, p.offset or 0)]


def safe(name: str) -> bool:
    """Return whether a name stays inside the dataset's folder and is valid on a file system."""
    parts = name.rstrip("/").split("/")
    inside = all(p not in ("", ".", "..") and not {*p} & {*"\\:"} for p in parts)
    return inside and name.isprintable()


class TreeDigest:
    """Computes the sha256 of a folder: of "name size\\n" and the content of each file, in order of the names."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.bytes = 0
        self.files = 0

    def add(self, name: str, content: bytes) -> None:
        self._digest.update(b"%s %d\n" % (os.fsencode(name), len(content)))  # a stray file may have any name
        self._digest.update(content)
        self.bytes += len(content)
        self.files += 1

    def piece(self, name: str) -> OutputFile:
        return OutputFile(name, self.bytes, self._digest.hexdigest(), self.files)


def changed(piece: OutputFile) -> str:
    """Return the message for a file, or a range of one, whose content has changed."""
    if piece.offset is None:
        return f"{piece.name} was changed"
    return f"{piece.name} was changed between bytes {piece.offset:,} and {piece.offset + piece.bytes:,}"


def digest(f: BinaryIO, size: int | None = None) -> str:
    """Return the sha256 of the next `size` bytes of a file, or of the rest."""
    sha = hashlib.sha256()
    left = size
    while left is None or left > 0:
        data = f.read(1 << 20 if left is None else min(1 << 20, left))
        if not data:
            break
        sha.update(data)
        left = None if left is None else left - len(data)
    return sha.hexdigest()


def total(records: Iterable[ShardRecord]) -> tuple[int, int]:
    """Return the sums of (kept images, bytes) of records."""
    kept = size = 0
    for r in records:
        kept += r.kept
        size += r.bytes
    return kept, size
