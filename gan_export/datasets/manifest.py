"""MANIFEST.json and the records that become it: what a dataset is, and what each of its shards should hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gan_export._lib import plaindata
from gan_export._lib.schema import decode
from gan_export.datasets.plan import DatasetPlan
from gan_export.datasets.records import ShardRecord, total
from gan_export.datasets.store import MANIFEST, STATE, Store
from gan_export.errors import GanExportError, printable

VERSION = 1
_NOTED_TEXTS = {"classifier", "judge", "hash"}  # what filters note in words; the last two are of earlier ones
_LARGEST = 1 << 63  # of a noted number
JOB = f"{STATE}/job.json"
NOTES = f"{STATE}/notes.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A finished dataset.  notes: what a filter or psi did, by its name."""

    job: DatasetPlan
    records: tuple[ShardRecord, ...]
    notes: Mapping[str, Any]

    def encode(self) -> bytes:
        """JSON with a line a shard.  The same dataset gives the same bytes."""
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
    """MANIFEST.json as it lies there."""

    version: int
    job: Mapping[str, Any]
    notes: Mapping[str, Any]
    pictures: int
    bytes: int
    shards: tuple[Mapping[str, Any], ...]


def read(store: Store) -> Manifest | None:
    """The manifest of a finished dataset; None where there is none.  Raises GanExportError for a spoilt one."""
    data = store.read(MANIFEST)
    if data is None:
        return None
    try:
        found = plaindata.from_json(data)
    except ValueError as e:
        raise GanExportError(f"{MANIFEST} can't be read: {printable(str(e))}") from None
    version = found.get("version") if isinstance(found, dict) else None
    if version != VERSION:
        raise GanExportError(f"{MANIFEST} is of version {printable(repr(version), 40)}; this program reads {VERSION}")
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
    """Raises ValueError for what `run` and the filters don't note: numbers by name, of each by its name."""
    for name, note in found.items():
        texts = [k for k, v in note.items() if isinstance(v, str)] if isinstance(note, dict) else []
        values = [v for k, v in note.items() if k not in texts] if isinstance(note, dict) else [note]
        if {*texts} - _NOTED_TEXTS or not all(type(v) in (int, float) and abs(v) < _LARGEST for v in values):
            raise ValueError(f"its note of {name} holds no numbers")
    if "psi" in found and {"psi", "variety", "of"} - {*found["psi"]}:
        raise ValueError("its note of psi lacks what was measured")
    if any({"dropped", "of"} - {*note} for name, note in found.items() if isinstance(note, dict) and name != "psi"):
        raise ValueError("its note of a filter lacks what it left out")
    return dict(found)


def job_under_way(store: Store) -> DatasetPlan | None:
    """The job of an unfinished run; None where there is none."""
    data = store.read(JOB)
    if data is None:
        return None
    try:
        return DatasetPlan.from_data(plaindata.from_json(data))
    except (ValueError, GanExportError):
        raise GanExportError(f"{JOB} can't be read; remove the folder {STATE} to begin again") from None


def encode_job(job: DatasetPlan) -> bytes:
    """As it lies in JOB."""
    return json.dumps(job.to_data(), sort_keys=True).encode()


def record_name(job: DatasetPlan, k: int) -> str:
    """Where the record of shard k lies while the run is under way."""
    return f"{STATE}/shards/{job.name(k)}.json"


def write_record(store: Store, job: DatasetPlan, record: ShardRecord) -> None:
    """From here on the shard counts as finished."""
    store.write(record_name(job, record.index), json.dumps(record.to_data()).encode())


def read_record(store: Store, job: DatasetPlan, k: int) -> ShardRecord | None:
    """The record of shard k; None where it isn't finished, or its record is spoilt."""
    data = store.read(record_name(job, k))
    if data is None:
        return None
    try:
        record = ShardRecord.from_data(plaindata.from_json(data))
    except (ValueError, GanExportError):
        return None
    return record if record.index == k else None


def finished(store: Store, wanted: range) -> list[int]:
    """Which of the shards have a record, in order; a job may claim more of them than could be counted."""
    stems = (n.removesuffix(".json") for n in store.names(f"{STATE}/shards") if n.endswith(".json"))
    numbers = (int(s) for s in stems if s.isdecimal() and len(s) < 20)
    return [k for k in numbers if k in wanted]


def write_notes(store: Store, notes: Mapping[str, Any]) -> None:
    """What the manifest will say beside its shards."""
    store.write(NOTES, json.dumps(dict(notes), sort_keys=True).encode())


def read_notes(store: Store) -> dict[str, Any]:
    """Nothing where nothing was noted."""
    data = store.read(NOTES)
    try:
        return _notes(plaindata.from_json(data)) if data else {}
    except (ValueError, TypeError, AttributeError) as e:
        raise GanExportError(
            f"{NOTES} can't be read: {printable(str(e))}; remove the folder {STATE} to begin again"
        ) from None


def kept(store: Store, job: DatasetPlan) -> int:
    """How many pictures the dataset will hold: the plan's, or what the filters keep of them."""
    return int(read_notes(store).get("kept", job.count)) if job.filters else job.count
