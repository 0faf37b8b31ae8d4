"""Find which shards of a dataset are finished and intact, generate the others, and write the manifest at the end.

Slices of one job start and end at any time.  Whether a dataset is finished is therefore read, and acted upon, under the
lock of the manifest.
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
    """The state of a dataset before a run.

    sound:   intact shards, which are kept
    faults:  a text for each damaged shard
    missing: the numbers of the shards to generate
    """

    sound: tuple[ShardRecord, ...]
    faults: tuple[str, ...]
    missing: tuple[int, ...] | range


def prepare(store: Store, job: DatasetPlan, slice: Partition, survey: Callable[[list[int]], None]) -> Prepared:
    """Check the existing shards, and return which shards are missing or damaged.

    survey: called with the shards that the filters must classify first, unless their decision is stored
    """
    while (found := _prepare(store, job, slice, survey)) is None:
        pass  # another slice finished or reopened the dataset meanwhile
    return found


def finish(store: Store, job: DatasetPlan) -> int:
    """Write the manifest if every shard is finished; return how many are not."""
    with _finishing(store):
        left = _conclude(store, job) if store.read(MANIFEST) is None else 0
        if left and store.read(MANIFEST) is None:
            store.create(manifest.JOB, manifest.encode_job(job))  # without locks, another run may have removed it
            return left
        _clear(store, job)
    return 0


def faults(store: Store, records: Iterable[ShardRecord]) -> list[tuple[ShardRecord, str]]:
    """Yield each record with the fault of its shard; hashing waits for the disk and releases the GIL."""

    def fault(record: ShardRecord) -> str:
        return next((f for f in map(store.fault, record.pieces) if f), "")

    there = list(records)
    with ThreadPoolExecutor(cores()) as pool:
        return list(zip(there, pool.map(fault, there), strict=True))


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _prepare(store: Store, job: DatasetPlan, slice: Partition, survey: Callable[[list[int]], None]) -> Prepared | None:
    """Prepare once; None, with nothing changed, if another slice changed the state meanwhile."""
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
        store.remove(f"{STATE}/scratch")  # of a run that was killed
    if job.filters and not filters.decided(store, job):
        seen = set(store.names(f"{STATE}/looks"))
        survey([k for k in range(job.shards) if job.name(k) not in seen])
    with _finishing(store):  # from here on, no slice can finish the dataset until the missing shards are generated
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
    """Return the fault of each damaged shard, by its number."""
    return {r.index: fault for r, fault in faults(store, records) if fault}


def _reopen(store: Store, finished: Manifest, damaged: dict[int, str]) -> dict[int, str]:
    """Turn a finished dataset into an unfinished one without its damaged shards; return their faults.

    Returns nothing, and changes nothing, if another slice did so or repaired them meanwhile.
    """
    with _finishing(store):
        if manifest.read(store) != finished:
            return {}
        damaged = _damage(store, (r for r in finished.records if r.index in damaged))
        if not damaged:
            return {}
        job = finished.job
        # the run that finished the dataset also removed this run's job
        store.write(manifest.JOB, manifest.encode_job(job))
        for record in finished.records:
            if record.index in damaged:
                store.remove(manifest.record_name(job, record.index))  # exists if a run was killed at its very end
            else:
                manifest.write_record(store, job, record)
        manifest.write_notes(store, finished.notes)
        store.remove(MANIFEST)
    return damaged


def _forget(store: Store, job: DatasetPlan, damaged: Iterable[int]) -> bool:
    """Remove the records of damaged shards, so that no other slice finishes with them; return False if one has."""
    with _finishing(store):
        if store.read(MANIFEST) is not None:
            return False
        for k in damaged:
            store.remove(manifest.record_name(job, k))
    return True


def _make_wholes(store: Store, job: DatasetPlan) -> None:
    """Create the files that shards share, or move them back into the run's folder; only one slice does so at a time."""
    if not isinstance(store, Folder):
        return
    for whole in formats.find(job.format).wholes(job, manifest.kept(store, job)):
        path, final = store.path / STATE / whole.name, store.path / whole.name
        for named in (store.path / STATE, path, final):
            fs.refuse_link(named)
        # a run was stopped just before its manifest, or the dataset was reopened
        if final.exists() and not path.exists():
            os.replace(final, path)
        # a file that a slice has begun to fill must not be truncated
        if not path.exists() or path.stat().st_size != whole.size:
            path.touch()
            with open(path, "r+b") as f:
                f.write(whole.header)
                f.truncate(whole.size)


def _conclude(store: Store, job: DatasetPlan) -> int:
    """Write the manifest, or return how many shards have no record.

    Without locks, another run may write it and remove the records at any moment.  Therefore the notes are read before
    the records, and the manifest is looked for again before it is written.
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
    store.settle()  # before the records are removed
    return 0


def _clear(store: Store, job: DatasetPlan) -> None:
    """Remove the files of a finished run; move a shared file that is only there into the dataset.

    In a folder, the lock is removed last: what another run writes after taking a new lock must not be removed.
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
    with contextlib.suppress(OSError):  # another run is already using it
        (state / lock.OF_MANIFEST).unlink()
        state.rmdir()


def _finishing(store: Store) -> contextlib.AbstractContextManager[None]:
    return lock.finishing(store.path) if isinstance(store, Folder) else contextlib.nullcontext()
