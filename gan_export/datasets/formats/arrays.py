"""Uncompressed arrays: shards of `.npy`, or one file that every process fills in place.

The one file has NumPy's own header, so that numpy.load(..., mmap_mode="r") reads it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_export._lib import fs
from gan_export.datasets.formats.base import Bytes, ImageBatch, ShardOutput, SharedFile, usual_shard
from gan_export.datasets.plan import DatasetPlan, Shard
from gan_export.datasets.records import OutputFile, ShardRecord
from gan_export.graph.signature import Signature

Array = NDArray[Any]
_PICTURES = {"image": "images", "volume": "volumes", "audio": "signals"}  # the stem, by the kind of output


@dataclass(frozen=True, slots=True)
class _Column:
    """An array of a dataset: the stem of its file name, its dtype, and the shape of a row."""

    stem: str
    dtype: np.dtype[Any]
    row: tuple[int, ...]

    def header(self, count: int) -> bytes:
        buffer = io.BytesIO()
        description = {"descr": self.dtype.str, "fortran_order": False, "shape": (count, *self.row)}
        np.lib.format.write_array_header_1_0(buffer, description)
        return buffer.getvalue()

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.row, dtype=np.int64))

    def of(self, part: ImageBatch) -> Array:
        values = {"labels": part.labels, "indices": part.indices}.get(self.stem, part.pictures)
        return np.ascontiguousarray(values, self.dtype)


def _columns(job: DatasetPlan) -> tuple[_Column, ...]:
    """Return the columns: images, volumes or signals; labels if there are any; indices if a filter leaves gaps."""
    columns = [_Column(_PICTURES[job.signature.outputs[0].kind], np.dtype("u1"), job.row)]
    if job.classes:
        columns.append(_Column("labels", np.dtype("<i8"), ()))
    if job.filters:
        columns.append(_Column("indices", np.dtype("<u8"), ()))
    return tuple(columns)


@dataclass(frozen=True, slots=True)
class Npy:
    """The format of shards: images-00000.npy, with labels-00000.npy and indices-00000.npy if needed."""

    name: str = "npy"
    title: str = "shards of uint8 (N, H, W, C) as .npy; also of volumes and signals"

    def check(self, signature: Signature) -> None: ...

    def shard_size(self, signature: Signature) -> int:
        return usual_shard(signature)

    def encoder(self) -> str:
        return ""

    def wholes(self, job: DatasetPlan, kept: int) -> tuple[SharedFile, ...]:
        return ()

    def write(
        self, place: ShardOutput, job: DatasetPlan, shard: Shard, parts: Iterable[ImageBatch]
    ) -> tuple[OutputFile, ...]:
        columns = _columns(job)
        names = [f"{c.stem}-{job.name(shard.index)}.npy" for c in columns]
        hashes = [hashlib.sha256() for _ in columns]
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(open(place.scratch / name, "wb")) for name in names]
            for f, h, c in zip(files, hashes, columns, strict=True):
                h.update(c.header(place.kept))
                f.write(c.header(place.kept))
            for part in parts:
                with place.meter.of("disk"):
                    for f, h, c in zip(files, hashes, columns, strict=True):
                        data = c.of(part).data
                        h.update(data)
                        f.write(data)
            sizes = [f.tell() for f in files]
        return tuple(OutputFile(n, s, h.hexdigest()) for n, s, h in zip(names, sizes, hashes, strict=True))

    def read(self, folder: Path, job: DatasetPlan, record: ShardRecord) -> Iterator[tuple[int, Bytes, int | None]]:
        arrays = [np.load(folder / p.name, mmap_mode="r") for p in record.pieces]
        return _rows(job, record, arrays)


@dataclass(frozen=True, slots=True)
class Raw:
    """The format of one file, filled in place: images.npy, with labels.npy and indices.npy if needed."""

    name: str = "raw"
    title: str = "one uint8 (N, H, W, C) file to memory-map, written in place; also of volumes and signals"

    def check(self, signature: Signature) -> None: ...

    def shard_size(self, signature: Signature) -> int:
        return usual_shard(signature)

    def encoder(self) -> str:
        return ""

    def wholes(self, job: DatasetPlan, kept: int) -> tuple[SharedFile, ...]:
        return tuple(
            SharedFile(f"{c.stem}.npy", c.header(kept), len(c.header(kept)) + kept * c.row_bytes) for c in _columns(job)
        )

    def write(
        self, place: ShardOutput, job: DatasetPlan, shard: Shard, parts: Iterable[ImageBatch]
    ) -> tuple[OutputFile, ...]:
        columns = _columns(job)
        hashes = [hashlib.sha256() for _ in columns]
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(_opened(place.shared / f"{c.stem}.npy")) for c in columns]
            offsets = [_header_size(f) + place.row * c.row_bytes for f, c in zip(files, columns, strict=True)]
            for f, offset in zip(files, offsets, strict=True):
                f.seek(offset)
            for part in parts:
                with place.meter.of("disk"):
                    for f, h, c in zip(files, hashes, columns, strict=True):
                        data = c.of(part).data
                        _write_all(f, data)
                        h.update(data)
        return tuple(
            OutputFile(f"{c.stem}.npy", place.kept * c.row_bytes, h.hexdigest(), offset=offset)
            for c, h, offset in zip(columns, hashes, offsets, strict=True)
        )

    def read(self, folder: Path, job: DatasetPlan, record: ShardRecord) -> Iterator[tuple[int, Bytes, int | None]]:
        arrays = []
        for piece, column in zip(record.pieces, _columns(job), strict=True):
            whole = np.load(folder / piece.name, mmap_mode="r")
            first = ((piece.offset or 0) - whole.offset) // column.row_bytes
            arrays.append(whole[first : first + record.kept])
        return _rows(job, record, arrays)


def _opened(path: Path) -> FileIO:
    """Open a file that is filled in place; raise GanExportError for a link."""
    fs.refuse_link(path)
    return open(path, "r+b", buffering=0)


def _header_size(f: FileIO) -> int:
    """Return the offset of the rows in an open .npy file of version 1, which `_Column.header` writes."""
    np.lib.format.read_magic(f)
    np.lib.format.read_array_header_1_0(f)
    return f.tell()


def _write_all(f: FileIO, data: memoryview) -> None:
    """Write all of `data`: an unbuffered file may take only a part per call."""
    left = data.cast("B")
    while left:
        left = left[f.write(left) :]


def _rows(job: DatasetPlan, record: ShardRecord, arrays: list[Array]) -> Iterator[tuple[int, Bytes, int | None]]:
    by_stem = dict(zip((c.stem for c in _columns(job)), arrays, strict=True))
    labels, indices = by_stem.get("labels"), by_stem.get("indices")
    pictures = by_stem[_PICTURES[job.signature.outputs[0].kind]]
    for i, picture in enumerate(pictures):
        index = record.start + i if indices is None else int(indices[i])
        yield index, picture, None if labels is None else int(labels[i])
