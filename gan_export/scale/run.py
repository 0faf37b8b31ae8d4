"""A dataset from a job: planned, refused where it can't be, resumed where it was begun, finished with a manifest."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gan_export.arch.reading import Overrides
from gan_export.errors import GanExportError
from gan_export.sampling import Generator, choose_labels
from gan_export.scale import filters, formats, generator_files, lock, manifest, ray_crew
from gan_export.scale.crew import Crew
from gan_export.scale.formats.base import Meter, Place
from gan_export.scale.job import Job, Shard, Slice
from gan_export.scale.manifest import Manifest
from gan_export.scale.pieces import Record, total
from gan_export.scale.ray_crew import RayCrew
from gan_export.scale.storage import open_store
from gan_export.scale.store import MANIFEST, STATE, Folder, Store, room
from gan_export.scale.writer import ShardWriter, Source

_TRIAL = 64  # pictures that are encoded to estimate what all will take
_VARIED = 256  # pictures that are drawn with and without psi to tell what it costs in variety
_SPARE = 1 << 24  # bytes left free for the file system itself

Progress = Callable[[int, int], None]  # pictures more, bytes more


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did.

    shards, pictures, bytes: finished by this run and kept from earlier ones, of this run's slice
    drawn:     pictures that this run drew; kept_shards: how many shards an earlier run had finished
    redrawn:   what was wrong with shards of an earlier run, in words
    seconds:   of the clock; spent: of all workers, by what they were spent on, with "all"
    notes:     what the manifest says of psi and the filters
    complete:  whether the dataset is finished; left: how many shards it lacks
    """

    shards: int
    pictures: int
    bytes: int
    drawn: int
    kept_shards: int
    redrawn: tuple[str, ...]
    seconds: float
    spent: dict[str, float]
    notes: dict[str, Any]
    complete: bool
    left: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What a user asks for; with a generator it becomes a Job."""

    seed: int
    start: int
    count: int
    format: str
    label: int | str = "random"
    psi: float = 1.0
    filters: tuple[str, ...] = ()
    shard_size: int | None = None
    slice: Slice = field(default_factory=Slice)
    workers: int | None = None
    ray: str | None = None  # a cluster's address, see ray_crew.join


def make_job(source: Source, wish: Wish, generator: Generator) -> Job:
    """Raises GanExportError for what can't be drawn or doesn't fit the format."""
    format = formats.find(wish.format)
    facts, info = generator.facts, generator.session.info
    format.check(facts)
    for name in wish.filters:
        filters.find(name).check(facts)
        if wish.slice.of > 1:
            raise GanExportError("--reject, --dedupe and --balance decide over the whole run; leave --shard out")
    choose_labels(facts, wish.label, 0, 0, 1)  # type: ignore[arg-type]
    said = {k: v for k, v in source.overrides.items() if v != getattr(Overrides(), k)}
    job = Job(
        generator=source.path.name, sha256=generator_files.sha256(source.path), facts=facts, runtime=info.runtime,
        version=info.version, seed=wish.seed, start=wish.start, count=wish.count, format=format.name,
        shard_size=format.shard_size(facts) if wish.shard_size is None else wish.shard_size, label=wish.label,
        psi=wish.psi, filters=wish.filters, overrides=said, encoder=format.encoder(),
    )  # fmt: skip
    job.check()
    return job


def run(source: Source, wish: Wish, target: str, *, progress: Progress = lambda pictures, size: None) -> Report:
    """Draw what is asked for into `target`, as far as it isn't there yet.  Images are those of `gan-sample`.

    An interrupt or a kill leaves finished shards, which the next run of the same job keeps.
    Raises GanExportError, with nothing changed, for what can't be done.
    """
    begun = time.perf_counter()
    store = open_store(target)
    _check_target(store, None)
    here = source if wish.ray is None else replace(source, device="cpu")  # the nodes have the GPUs
    with here.open(wish.psi) as generator:
        job = make_job(source, wish, generator)
        _check_target(store, job)
        if not isinstance(store, Folder) and formats.find(job.format).wholes(job, job.count):
            raise GanExportError(f"{job.format} is written in place, which {store.shown} can't; use --format npy")
        variety = _variety(generator, job) if wish.psi != 1.0 else {}
        missing = _Count(wish.slice, job, store).missing
        if missing:
            _check_room(generator, job, store, missing)
    with _crew(source, job, wish, target) as crew, _held(store, wish.slice):
        store.create(manifest.JOB, _job_bytes(job))
        _check_target(store, job)  # another run may have begun in between
        _note_psi(store, wish.psi, variety)
        prepared = _prepare(store, job, wish.slice, lambda shards: _survey(crew, store, job, shards, progress))
        drawn, records = 0, list(prepared.sound)
        if prepared.missing:
            for record in crew.draw(prepared.missing, lambda n: progress(n, 0)):
                records.append(record)
                drawn += record.count
                progress(0, record.bytes)
        left = finish(store, job)
        done = manifest.read(store)
    pictures, size = total(records)
    return Report(
        len(records), pictures, size, drawn, len(prepared.sound), prepared.faults, time.perf_counter() - begun,
        crew.seconds, dict(done.notes) if done else {}, left == 0, left,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Prepared:
    sound: tuple[Record, ...]
    faults: tuple[str, ...]
    missing: tuple[int, ...] | range


class _Count:
    """How many pictures a slice lacks, counted without looking into any shard."""

    def __init__(self, slice: Slice, job: Job, store: Store) -> None:
        wanted = slice.of_job(job)
        if store.read(MANIFEST) is not None:
            self.missing = 0
        else:
            done = len(store.names(f"{STATE}/shards")) if slice.of == 1 else len(manifest.finished(store, job, wanted))
            self.missing = max(0, len(wanted) - done) * job.shard_size


def finish(store: Store, job: Job) -> int:
    """Write the manifest when every shard is finished.  Gives how many are not."""
    with _finishing(store):
        if store.read(MANIFEST) is None:
            there = manifest.finished(store, job, range(job.shards))
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
            store.write(MANIFEST, Manifest(job, sound, manifest.read_notes(store)).encode())
            store.settle()  # before the records go
        store.remove(STATE)
    return 0


def _prepare(store: Store, job: Job, slice: Slice, survey: Callable[[list[int]], None]) -> _Prepared:
    """What is there is checked; what is missing or damaged is to be drawn.

    survey: lets the filters look at these shards and decide; called where their decision isn't there.
    """
    wanted = slice.of_job(job)
    finished = manifest.read(store)
    if finished is not None:
        damaged = {r.index: fault for r, fault in faults(store, finished.records) if fault}
        if not damaged:
            return _Prepared(finished.records, (), ())
        _reopen(store, finished, damaged)
    if slice.of == 1:
        store.remove(f"{STATE}/scratch")  # left by a run that was killed
    if job.filters and not filters.decided(store, job):
        seen = set(store.names(f"{STATE}/looks"))
        survey([k for k in range(job.shards) if job.name(k) not in seen])
    _make_wholes(store, job)
    records = [manifest.read_record(store, job, k) for k in manifest.finished(store, job, wanted)]
    there = [r for r in records if r is not None]
    checked = faults(store, there) if finished is None else [(r, "") for r in there]
    for record in (r for r, fault in checked if fault):
        store.remove(manifest.record_name(job, record.index))  # or another slice might finish over it
    sound = tuple(r for r, fault in checked if not fault)
    said = tuple(fault for _, fault in checked if fault) if finished is None else tuple(damaged.values())
    done = {r.index for r in sound}
    return _Prepared(sound, said, tuple(k for k in wanted if k not in done) if done else wanted)


def _survey(crew: Crew | RayCrew, store: Store, job: Job, shards: list[int], progress: Progress) -> None:
    """Every shard drawn once for the filters, and their decision."""
    if shards:
        for _ in crew.draw(shards, lambda n: progress(n, 0), look=True):
            pass
    filters.decide(store, job)


def _variety(generator: Generator, job: Job) -> dict[str, Any]:
    """How far apart pictures are with psi, against without: the mean distance between neighbours' pixels."""

    def spread(psi: float) -> float:
        pictures = replace(generator, psi=psi).draw(job.seed, 0, _VARIED, job.label)  # type: ignore[arg-type]
        return float(np.abs(np.diff(pictures.astype(np.float32), axis=0)).mean())

    whole = spread(1.0)
    return {"psi": generator.psi, "variety": round(spread(generator.psi) / whole, 3) if whole else 0.0, "of": _VARIED}


def _note_psi(store: Store, psi: float, variety: dict[str, Any]) -> None:
    if psi != 1.0 and store.read(MANIFEST) is None:
        manifest.write_notes(store, {**manifest.read_notes(store), "psi": variety})


def _reopen(store: Store, finished: Manifest, damaged: dict[int, str]) -> None:
    """Make a finished dataset an unfinished one that lacks the damaged shards."""
    for record in finished.records:
        if record.index not in damaged:
            manifest.write_record(store, finished.job, record)
    manifest.write_notes(store, finished.notes)
    store.remove(MANIFEST)


def _make_wholes(store: Store, job: Job) -> None:
    if not isinstance(store, Folder):
        return
    with _finishing(store):  # slices come here at once, and one that has begun to write must not be cut
        for whole in formats.find(job.format).wholes(job, manifest.kept(store, job)):
            path, final = store.path / STATE / whole.name, store.path / whole.name
            if final.exists() and not path.exists():  # a run was stopped just before its manifest, or reopened
                os.replace(final, path)
            if not path.exists() or path.stat().st_size != whole.size:
                path.touch()
                with open(path, "r+b") as f:
                    f.write(whole.header)
                    f.truncate(whole.size)


def faults(store: Store, records: Iterable[Record]) -> list[tuple[Record, str]]:
    """Each record, and what is wrong with its shard; hashing waits for the disk and lets go of the lock."""

    def fault(record: Record) -> str:
        return next((f for f in map(store.fault, record.pieces) if f), "")

    there = list(records)
    with ThreadPoolExecutor(_cores()) as pool:
        return list(zip(there, pool.map(fault, there), strict=True))


def _check_target(store: Store, job: Job | None) -> None:
    """Refuse a place that holds something else."""
    finished = manifest.read(store)
    found = finished.job if finished else manifest.job_under_way(store)
    where = store.shown
    if found is not None and job is not None and (difference := job.difference(found)):
        raise GanExportError(f"{where} holds another run ({difference}); name another folder with -o, or remove it")
    if found is None and any(n != STATE for n in store.names("")):
        raise GanExportError(f"{where} holds other files; name another folder with -o")


def _check_room(generator: Generator, job: Job, store: Store, pictures: int) -> None:
    """Refuse what there is no room for, by the size of a first few pictures."""
    free = store.free()
    if free is None:
        return
    wholes = formats.find(job.format).wholes(job, job.count)
    need = sum(w.size for w in wholes) * pictures // job.count if wholes else _trial(generator, job) * pictures
    if need + _SPARE > free:
        raise GanExportError(
            f"{job.count:,} pictures take about {need / 1e9:,.1f} GB as {job.format}, and {free / 1e9:,.1f} GB are "
            "free; ask for fewer, another --format, or another place with -o"
        )


def _trial(generator: Generator, job: Job) -> int:
    """Bytes on a disk that a picture takes, rounded up."""
    n = min(_TRIAL, job.count)
    small = replace(job, count=n, shard_size=n, filters=())
    scratch = Path(tempfile.mkdtemp(prefix="gan-sample-"))
    try:
        place = Place(scratch, scratch, 0, n, Meter())
        writer = ShardWriter(generator, small, Folder(scratch), scratch)
        formats.find(job.format).write(place, small, Shard(0, job.start, n), writer.parts(small.shard(0), None))
        return -(-room(scratch) // n)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _crew(source: Source, job: Job, wish: Wish, target: str) -> Iterator[Crew | RayCrew]:
    source = replace(source, runtime=job.runtime)
    if wish.ray is None:
        workers, threads, ahead = _manning(source, job, wish.workers)
        yield Crew(job, replace(source, threads=threads), target, workers, ahead=ahead)
        return
    with ray_crew.join(wish.ray, job, source, target, wish.workers, light=_light(source, job)) as crew:
        yield crew


def _light(source: Source, job: Job) -> bool:
    """Whether a process a core is the way to draw: where it is no great thing to load, and a core is what draws."""
    return source.device == "cpu" and job.runtime in ("native", "onnxruntime")


def _manning(source: Source, job: Job, asked: int | None) -> tuple[int, int, bool]:
    """(workers, threads of each, whether a worker draws ahead while it encodes).

    An engine that is light gets a process a core, each with one thread: nothing waits for anything.  A GPU, or
    PyTorch with its large libraries, gets one process, which draws ahead.
    """
    cores = _cores()
    workers = min(asked or (cores if _light(source, job) else 1), job.shards)
    threads = source.threads or max(1, cores // workers)
    return workers, threads, workers < cores or source.device != "cpu"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _held(store: Store, slice: Slice) -> contextlib.AbstractContextManager[None]:
    return lock.hold(store.path, slice) if isinstance(store, Folder) else contextlib.nullcontext()


def _finishing(store: Store) -> contextlib.AbstractContextManager[None]:
    return lock.finishing(store.path) if isinstance(store, Folder) else contextlib.nullcontext()


def _job_bytes(job: Job) -> bytes:
    import json

    return json.dumps(job.to_data(), sort_keys=True).encode()
