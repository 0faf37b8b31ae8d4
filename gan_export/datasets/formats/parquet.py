"""Parquet shards with one PNG per row, which Hugging Face's `datasets` reads as images without a script."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_export.datasets.formats import png
from gan_export.datasets.formats.base import Bytes, ImageBatch, ShardOutput, SharedFile, usual_shard
from gan_export.datasets.plan import DatasetPlan, Shard
from gan_export.datasets.records import OutputFile, ShardRecord, digest
from gan_export.errors import UnavailableError
from gan_export.graph.signature import Signature
from gan_export.graph.views import image_of

_GROUP = 1000  # rows of a row group, which a reader must load to reach one image


@dataclass(frozen=True, slots=True)
class Parquet:
    """The format train-00000-of-00010.parquet.

    Columns: image (bytes and path), index, seed and, if there are labels, label.
    """

    name: str = "parquet"
    title: str = "PNGs in Parquet shards, for Hugging Face datasets"

    def check(self, signature: Signature) -> None:
        png.check_channels(image_of(signature)[0])
        _pyarrow()

    def shard_size(self, signature: Signature) -> int:
        return usual_shard(signature)

    def encoder(self) -> str:
        return f"{png.library()}, pyarrow {_pyarrow().__version__}"

    def wholes(self, job: DatasetPlan, kept: int) -> tuple[SharedFile, ...]:
        return ()

    def write(
        self, place: ShardOutput, job: DatasetPlan, shard: Shard, parts: Iterable[ImageBatch]
    ) -> tuple[OutputFile, ...]:
        pa = _pyarrow()
        path = place.scratch / f"train-{job.name(shard.index)}-of-{job.shards:05d}.parquet"
        schema = _schema(job)
        rows: list[dict[str, Any]] = []
        with pa.parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
            for part in parts:
                with place.meter.of("encoding"):
                    rows += _rows(job, part)
                while len(rows) >= _GROUP:
                    with place.meter.of("disk"):
                        writer.write_table(pa.Table.from_pylist(rows[:_GROUP], schema))
                    del rows[:_GROUP]
            if rows:
                writer.write_table(pa.Table.from_pylist(rows, schema))
        with place.meter.of("disk"), open(path, "rb") as f:
            return (OutputFile(path.name, path.stat().st_size, digest(f)),)

    def read(self, folder: Path, job: DatasetPlan, record: ShardRecord) -> Iterator[tuple[int, Bytes, int | None]]:
        with _pyarrow().parquet.ParquetFile(folder / record.pieces[0].name) as file:
            for batch in file.iter_batches(batch_size=_GROUP):
                for row in batch.to_pylist():
                    yield row["index"], png.decode(row["image"]["bytes"]), row.get("label")


def _rows(job: DatasetPlan, part: ImageBatch) -> Iterator[dict[str, Any]]:
    labels = part.labels.tolist() if part.labels is not None else None
    for i, (index, data) in enumerate(zip(part.indices.tolist(), png.encode(part.pictures), strict=True)):
        image = {"bytes": data, "path": f"{job.file_name(index)}.png"}
        row = {"image": image, "index": index, "seed": job.seed}
        yield row if labels is None else {**row, "label": labels[i]}


def _schema(job: DatasetPlan) -> Any:
    """Return the columns, with the metadata from which `datasets` reads their types."""
    pa = _pyarrow()
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = [("image", image), ("index", pa.uint64()), ("seed", pa.uint64())]
    features: dict[str, Any] = {
        "image": {"_type": "Image"},
        "index": {"dtype": "uint64", "_type": "Value"},
        "seed": {"dtype": "uint64", "_type": "Value"},
    }
    if job.classes:
        fields.append(("label", pa.int64()))
        features["label"] = {"names": [str(k) for k in range(job.classes)], "_type": "ClassLabel"}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UnavailableError("format=parquet needs pyarrow: pip install pyarrow") from None
    return pyarrow
