"""What a shard leaves on disk, by name, size and sha256: files, folders of pictures, ranges of a shared file."""

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
    """One thing of a shard.

    name:     relative to the dataset, with /; a folder's ends with /
    bytes:    its size; the sum of its files' for a folder
    sha256:   of its content; of a folder, see TreeDigest
    files:    how many files a folder holds, 0 for a file
    offset:   where a range of a file that shards share begins; None for a piece with a name of its own
    """

    name: str
    bytes: int
    sha256: str
    files: int = 0
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """A finished shard: its number, what was drawn for it, how many pictures of them are kept, and its pieces."""

    index: int
    start: int
    count: int
    kept: int
    pieces: tuple[OutputFile, ...]

    @property
    def bytes(self) -> int:
        return sum(p.bytes for p in self.pieces)

    def to_data(self) -> dict[str, Any]:
        """As JSON holds it; what a piece doesn't have is left out."""
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
    """Whether a name stays inside the dataset's folder, and is one that a file system takes."""
    parts = name.rstrip("/").split("/")
    inside = all(p not in ("", ".", "..") and not {*p} & {*"\\:"} for p in parts)
    return inside and name.isprintable()


class TreeDigest:
    """The sha256 of a folder: of "name size\\n" and the content of each file, in order of the names."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.bytes = 0
        self.files = 0

    def add(self, name: str, content: bytes) -> None:
        self._digest.update(b"%s %d\n" % (os.fsencode(name), len(content)))  # a stray file may bear any name
        self._digest.update(content)
        self.bytes += len(content)
        self.files += 1

    def piece(self, name: str) -> OutputFile:
        return OutputFile(name, self.bytes, self._digest.hexdigest(), self.files)


def changed(piece: OutputFile) -> str:
    """What is said of a file, or of a range of one, with another content."""
    if piece.offset is None:
        return f"{piece.name} was changed"
    return f"{piece.name} was changed between bytes {piece.offset:,} and {piece.offset + piece.bytes:,}"


def digest(f: BinaryIO, size: int | None = None) -> str:
    """The sha256 of the next `size` bytes of a file, or of all that is left."""
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
    """(pictures kept, bytes) of many records."""
    kept = size = 0
    for r in records:
        kept += r.kept
        size += r.bytes
    return kept, size
