"""Tar shards for the webdataset library: an image, its label, and its seed and index as JSON."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gan_export._lib import plaindata
from gan_export.datasets.formats import png
from gan_export.datasets.formats.base import Bytes, ImageBatch, ShardOutput, SharedFile, usual_shard
from gan_export.datasets.plan import DatasetPlan, Shard
from gan_export.datasets.records import OutputFile, ShardRecord, digest
from gan_export.graph.signature import Signature
from gan_export.graph.views import image_of

_LARGEST = 1 << 28  # bytes of a file in a shard: a sparse entry can state any size without containing it


@dataclass(frozen=True, slots=True)
class Picture:
    """A form of images in the tar: its suffix, and functions to encode a batch and to decode a file."""

    suffix: str
    library: Callable[[], str]
    check: Callable[[int], None]
    encode: Callable[[Bytes], list[bytes]]
    decode: Callable[[bytes], Bytes]


@dataclass(frozen=True, slots=True)
class WebDataset:
    """The format pictures-00000.tar with KEY.png, KEY.json and, if there are labels, KEY.cls; the key is the index."""

    name: str
    title: str
    picture: Picture

    def check(self, signature: Signature) -> None:
        self.picture.check(image_of(signature)[0])

    def shard_size(self, signature: Signature) -> int:
        return usual_shard(signature)

    def encoder(self) -> str:
        return self.picture.library()

    def wholes(self, job: DatasetPlan, kept: int) -> tuple[SharedFile, ...]:
        return ()

    def write(
        self, place: ShardOutput, job: DatasetPlan, shard: Shard, parts: Iterable[ImageBatch]
    ) -> tuple[OutputFile, ...]:
        path = place.scratch / f"pictures-{job.name(shard.index)}.tar"
        with open(path, "wb") as f, tarfile.open(fileobj=f, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for part in parts:
                with place.meter.of("encoding"):
                    files = list(self._files(job, part))
                with place.meter.of("disk"):
                    for name, data in files:
                        _add(archive, name, data)
        with place.meter.of("disk"), open(path, "rb") as written:
            return (OutputFile(path.name, path.stat().st_size, digest(written)),)

    def read(self, folder: Path, job: DatasetPlan, record: ShardRecord) -> Iterator[tuple[int, Bytes, int | None]]:
        with tarfile.open(folder / record.pieces[0].name) as archive:
            picture: Bytes | None = None
            for entry in archive:
                file = archive.extractfile(entry) if entry.isreg() and entry.size <= _LARGEST else None
                data = file.read() if file else b""
                if entry.name.endswith(self.picture.suffix):
                    picture = self.picture.decode(data)
                elif entry.name.endswith(".json") and picture is not None:
                    metadata = plaindata.from_json(data)
                    yield int(metadata["index"]), picture, metadata.get("label")

    def _files(self, job: DatasetPlan, part: ImageBatch) -> Iterator[tuple[str, bytes]]:
        labels = part.labels.tolist() if part.labels is not None else None
        for i, (index, data) in enumerate(zip(part.indices.tolist(), self.picture.encode(part.pictures), strict=True)):
            key = job.file_name(index)
            yield f"{key}.{self.picture.suffix}", data
            metadata = {"index": index, "seed": job.seed}
            if labels is not None:
                metadata["label"] = labels[i]
                yield f"{key}.cls", b"%d" % labels[i]
            yield f"{key}.json", json.dumps(metadata).encode()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)  # of 1970 and without an owner, so that the same images give the same bytes
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def _npy(pictures: Bytes) -> list[bytes]:
    header = io.BytesIO()
    description = {"descr": "|u1", "fortran_order": False, "shape": pictures.shape[1:]}
    np.lib.format.write_array_header_1_0(header, description)
    return [header.getvalue() + p.tobytes() for p in pictures]


def _from_npy(data: bytes) -> Bytes:
    picture: Bytes = np.load(io.BytesIO(data), allow_pickle=False)
    return picture


PNG = Picture("png", png.library, png.check_channels, png.encode, png.decode)
NPY = Picture("npy", lambda: "", lambda channels: None, _npy, _from_npy)
