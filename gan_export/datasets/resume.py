"""What of a dataset is there and sound, what is still to be drawn, and its manifest once nothing is.

Slices of one job come and go at once: what decides between a finished dataset and one under way is read, and acted
upon, under the lock of the manifest.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from gan_export._lib import fs
from gan_export.datasets import filters, formats, lock, manifest
from gan_export.datasets.manifest import Manifest
from gan_export.datasets.plan import DatasetPlan, Partition
from gan_export.datasets.records import ShardRecord, total
from gan_export.datasets.store import MANIFEST, STATE, Folder, Store


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run finds.

    sound:   shards that it keeps
    faults:  what was wrong with others, in words
    missing: the numbers of the shards that it is to draw
    """

    sound: tuple[ShardRecord, ...]
    faults: tuple[str, ...]
    missing: tuple[int, ...] | range


def prepare(store: Store, job: DatasetPlan, slice: Partition, survey: Callable[[list[int]], None]) -> Prepared:
    """What is there is checked; what is missing or damaged is to be drawn.

    survey: lets the filters look at these shards and decide; called where their decision isn't there.
    """
    while (found := _prepare(store, job, slice, survey)) is None:
        pass  # another slice finished the dataset, or took it up again, meanwhile
    return found


def finish(store: Store, job: DatasetPlan) -> int:
    """Write the manifest when every shard is finished.  Gives how many are not."""
    with _finishing(store):
        left = _conclude(store, job) if store.read(MANIFEST) is None else 0
        if left and store.read(MANIFEST) is None:
            store.create(manifest.JOB, manifest.encode_job(job))  # without locks another run may have removed it
            return left
        _clear(store, job)
    return 0


def faults(store: Store, records: Iterable[ShardRecord]) -> list[tuple[ShardRecord, str]]:
    """Each record, and what is wrong with its shard; hashing waits for the disk and lets go of the lock."""

    def fault(record: ShardRecord) -> str:
        return next((f for f in map(store.fault, record.pieces) if f), "")

    there = list(records)
    with ThreadPoolExecutor(cores()) as pool:
        return list(zip(there, pool.map(fault, there), strict=True))


def cores() -> int:
    """Of this machine, as many as this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _prepare(store: Store, job: DatasetPlan, slice: Partition, survey: Callable[[list[int]], None]) -> Prepared | None:
    """As `prepare`; None where what it went by has changed since, and nothing was done."""
    wanted = slice.of_job(job)
    finished = manifest.read(store)
    damaged: dict[int, str] = {}
    if finished is not None:
        damaged = _damage(store, finished.records)
        if not damaged:
            return Prepared(finished.records, (), ())
        damaged = _reopen(store, finished, damaged)
        if not damaged:
            return None
    if slice.of == 1:
        store.remove(f"{STATE}/scratch")  # left by a run that was killed
    if job.filters and not filters.decided(store, job):
        seen = set(store.names(f"{STATE}/looks"))
        survey([k for k in range(job.shards) if job.name(k) not in seen])
    with _finishing(store):  # a shard that isn't there now keeps every slice from finishing until it is drawn
        if store.read(MANIFEST) is not None:
            return None
        _make_wholes(store, job)
        records = [manifest.read_record(store, job, k) for k in manifest.finished(store, wanted)]
    sound = tuple(r for r in records if r is not None)
    if finished is None:
        damaged = _damage(store, sound)
        if damaged and not _forget(store, job, damaged):
            return None
        sound = tuple(r for r in sound if r.index not in damaged)
    done = {r.index for r in sound}
    return Prepared(sound, tuple(damaged.values()), tuple(k for k in wanted if k not in done) if done else wanted)


def _damage(store: Store, records: Iterable[ShardRecord]) -> dict[int, str]:
    """What is wrong, in words, by the number of the shard."""
    return {r.index: fault for r, fault in faults(store, records) if fault}


def _reopen(store: Store, finished: Manifest, damaged: dict[int, str]) -> dict[int, str]:
    """Make a finished dataset an unfinished one that lacks the damaged shards; gives those.

    None of them, and nothing changed, where another slice did so or mended them meanwhile.
    """
    with _finishing(store):
        if manifest.read(store) != finished:
            return {}
        damaged = _damage(store, (r for r in finished.records if r.index in damaged))
        if not damaged:
            return {}
        job = finished.job
        store.write(manifest.JOB, manifest.encode_job(job))  # who finished it before removed that of this run, too
        for record in finished.records:
            if record.index in damaged:
                store.remove(manifest.record_name(job, record.index))  # there where a run was killed at its very end
            else:
                manifest.write_record(store, job, record)
        manifest.write_notes(store, finished.notes)
        store.remove(MANIFEST)
    return damaged


def _forget(store: Store, job: DatasetPlan, damaged: Iterable[int]) -> bool:
    """Remove the records of damaged shards, or another slice might finish over them; False where one did so."""
    with _finishing(store):
        if store.read(MANIFEST) is not None:
            return False
        for k in damaged:
            store.remove(manifest.record_name(job, k))
    return True


def _make_wholes(store: Store, job: DatasetPlan) -> None:
    """The files that shards share, made or moved to where they are filled: slices come here in turn."""
    if not isinstance(store, Folder):
        return
    for whole in formats.find(job.format).wholes(job, manifest.kept(store, job)):
        path, final = store.path / STATE / whole.name, store.path / whole.name
        for named in (store.path / STATE, path, final):
            fs.refuse_link(named)
        if final.exists() and not path.exists():  # a run was stopped just before its manifest, or reopened
            os.replace(final, path)
        if not path.exists() or path.stat().st_size != whole.size:  # one that has begun to write must not be cut
            path.touch()
            with open(path, "r+b") as f:
                f.write(whole.header)
                f.truncate(whole.size)


def _conclude(store: Store, job: DatasetPlan) -> int:
    """Write the manifest, or give how many shards have no record.

    Without locks another run may write it and remove the records at any moment: notes are read before the records,
    and the manifest is looked for once more before it is written.
    """
    notes = manifest.read_notes(store)
    there = manifest.finished(store, range(job.shards))
    if len(there) < job.shards:
        return job.shards - len(there)
    records = [manifest.read_record(store, job, k) for k in there]
    sound = tuple(r for r in records if r is not None)
    if len(sound) < job.shards:
        return job.shards - len(sound)
    if isinstance(store, Folder):
        for whole in formats.find(job.format).wholes(job, total(sound)[0]):
            with contextlib.suppress(FileNotFoundError):
                os.replace(store.path / STATE / whole.name, store.path / whole.name)
    store.settle()
    if store.read(MANIFEST) is None:
        store.write(MANIFEST, Manifest(job, sound, notes).encode())
    store.settle()  # before the records go
    return 0


def _clear(store: Store, job: DatasetPlan) -> None:
    """Remove what a finished run kept.  A shared file that lies there alone is the dataset's, and goes back.

    In a folder the lock goes last: who takes a new one in its stead has nothing removed that is written from then on.
    """
    if not isinstance(store, Folder):
        store.remove(STATE)
        return
    state = store.path / STATE
    for whole in formats.find(job.format).wholes(job, job.count):
        if (state / whole.name).exists() and not (store.path / whole.name).exists():
            os.replace(state / whole.name, store.path / whole.name)
    for name in store.names(STATE):
        if name != lock.OF_MANIFEST:
            with contextlib.suppress(OSError):
                store.remove(f"{STATE}/{name}")
    with contextlib.suppress(OSError):  # another run is at work there already
        (state / lock.OF_MANIFEST).unlink()
        state.rmdir()


def _finishing(store: Store) -> contextlib.AbstractContextManager[None]:
    return lock.finishing(store.path) if isinstance(store, Folder) else contextlib.nullcontext()
