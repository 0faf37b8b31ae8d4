"""MANIFEST.json, which describes a dataset and the contents of each shard, and the records that it is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gan_export._lib import plaindata
from gan_export._lib.schema import decode
from gan_export.datasets.plan import DatasetPlan, renamed
from gan_export.datasets.records import ShardRecord, total
from gan_export.datasets.store import MANIFEST, STATE, Store
from gan_export.errors import GanExportError, printable

VERSION = 1
_NOTED_TEXTS = {"classifier", "judge", "hash"}  # texts in the notes of filters; the last two are of earlier versions
_LARGEST = 1 << 63  # of a number in the notes
JOB = f"{STATE}/job.json"
NOTES = f"{STATE}/notes.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A finished dataset.  notes: the effects of filters and of the latent scale, by name."""

    job: DatasetPlan
    records: tuple[ShardRecord, ...]
    notes: Mapping[str, Any]

    def encode(self) -> bytes:
        """Return JSON with one line per shard; the same dataset gives the same bytes."""
        kept, size = total(self.records)
        head = {
            "version": VERSION,
            "job": self.job.to_data(),
            "notes": dict(self.notes),
            "pictures": kept,
            "bytes": size,
        }
        text = json.dumps(head, sort_keys=True, indent=1)[: -len("\n}")]
        lines = ",\n".join(json.dumps(r.to_data()) for r in self.records)
        return f'{text},\n "shards": [\n{lines}\n]}}\n'.encode()


@dataclass(frozen=True, slots=True)
class _Head:
    """The fields of MANIFEST.json."""

    version: int
    job: Mapping[str, Any]
    notes: Mapping[str, Any]
    pictures: int
    bytes: int
    shards: tuple[Mapping[str, Any], ...]


def read(store: Store) -> Manifest | None:
    """Return the manifest of a finished dataset, None without one; raise GanExportError if it is invalid."""
    data = store.read(MANIFEST)
    if data is None:
        return None
    try:
        found = plaindata.from_json(data)
    except ValueError as e:
        raise GanExportError(f"{MANIFEST} can't be read: {printable(str(e))}") from None
    version = found.get("version") if isinstance(found, dict) else None
    if version != VERSION:
        raise GanExportError(f"{MANIFEST} has version {printable(repr(version), 40)}; this program reads {VERSION}")
    head = decode(_Head, found, MANIFEST)
    job = DatasetPlan.from_data(head.job)
    records = tuple(ShardRecord.from_data(r) for r in head.shards)
    try:
        notes = _notes(head.notes)
    except (ValueError, TypeError, AttributeError) as e:
        raise GanExportError(f"{MANIFEST} can't be read: {printable(str(e))}") from None
    if len(records) != job.shards or any(r.index != k for k, r in enumerate(records)):
        raise GanExportError(f"{MANIFEST} doesn't list each of its {job.shards:,} shards once")
    return Manifest(job, records, notes)


def _notes(found: Any) -> dict[str, Any]:
    """Check notes: numbers by name, for each filter and the latent scale; raise ValueError for anything else."""
    found = {name: renamed(note) for name, note in renamed(found).items()}
    for name, note in found.items():
        texts = [k for k, v in note.items() if isinstance(v, str)] if isinstance(note, dict) else []
        values = [v for k, v in note.items() if k not in texts] if isinstance(note, dict) else [note]
        if {*texts} - _NOTED_TEXTS or not all(type(v) in (int, float) and abs(v) < _LARGEST for v in values):
            raise ValueError(f"its note of {name} contains no numbers")
    if "latent_scale" in found and {"latent_scale", "variety", "of"} - {*found["latent_scale"]}:
        raise ValueError("its note of latent_scale lacks what was measured")
    if any(
        {"dropped", "of"} - {*note} for name, note in found.items() if isinstance(note, dict) and name != "latent_scale"
    ):
        raise ValueError("its note of a filter lacks what it left out")
    return dict(found)


def job_under_way(store: Store) -> DatasetPlan | None:
    """Return the job of an unfinished run; None if there is none."""
    data = store.read(JOB)
    if data is None:
        return None
    try:
        return DatasetPlan.from_data(plaindata.from_json(data))
    except (ValueError, GanExportError):
        raise GanExportError(f"{JOB} can't be read; remove the folder {STATE} to begin again") from None


def encode_job(job: DatasetPlan) -> bytes:
    """Return the content of the file JOB."""
    return json.dumps(job.to_data(), sort_keys=True).encode()


def record_name(job: DatasetPlan, k: int) -> str:
    """Return the name of the record of shard k in an unfinished run."""
    return f"{STATE}/shards/{job.name(k)}.json"


def write_record(store: Store, job: DatasetPlan, record: ShardRecord) -> None:
    """Write a shard's record, which marks the shard as finished."""
    store.write(record_name(job, record.index), json.dumps(record.to_data()).encode())


def read_record(store: Store, job: DatasetPlan, k: int) -> ShardRecord | None:
    """Return the record of shard k; None if the shard isn't finished or its record is invalid."""
    data = store.read(record_name(job, k))
    if data is None:
        return None
    try:
        record = ShardRecord.from_data(plaindata.from_json(data))
    except (ValueError, GanExportError):
        return None
    return record if record.index == k else None


def finished(store: Store, wanted: range) -> list[int]:
    """Return the numbers of the shards that have a record, in order.

    A job from elsewhere may state more shards than can be counted, so the records are listed instead.
    """
    stems = (n.removesuffix(".json") for n in store.names(f"{STATE}/shards") if n.endswith(".json"))
    numbers = (int(s) for s in stems if s.isdecimal() and len(s) < 20)
    return [k for k in numbers if k in wanted]


def write_notes(store: Store, notes: Mapping[str, Any]) -> None:
    """Write the notes that the manifest will contain beside its shards."""
    store.write(NOTES, json.dumps(dict(notes), sort_keys=True).encode())


def read_notes(store: Store) -> dict[str, Any]:
    """Return the notes; empty if there are none."""
    data = store.read(NOTES)
    try:
        return _notes(plaindata.from_json(data)) if data else {}
    except (ValueError, TypeError, AttributeError) as e:
        raise GanExportError(
            f"{NOTES} can't be read: {printable(str(e))}; remove the folder {STATE} to begin again"
        ) from None


def kept(store: Store, job: DatasetPlan) -> int:
    """Return the number of images in the finished dataset: the plan's, or those that the filters keep."""
    return int(read_notes(store).get("kept", job.count)) if job.filters else job.count
