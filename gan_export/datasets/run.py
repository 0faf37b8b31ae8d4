"""A dataset from a job: refused where it can't be, drawn as far as it isn't there, finished with a manifest."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_export.datasets import filters, formats, generator_files, lock, manifest, ray_pool, resume
from gan_export.datasets.formats.base import ShardOutput, Stopwatch
from gan_export.datasets.plan import DatasetPlan, Partition, Shard
from gan_export.datasets.ray_pool import RayPool
from gan_export.datasets.records import total
from gan_export.datasets.storage import open_store
from gan_export.datasets.store import MANIFEST, STATE, Folder, Store, room
from gan_export.datasets.workers import WorkerPool
from gan_export.datasets.writer import GeneratorSource, ShardWriter, batch_size
from gan_export.errors import GanExportError
from gan_export.metrics import evaluators
from gan_export.recognize.options import ReadOptions
from gan_export.sampling.generator import Generator, choose_labels

_TRIAL = 64  # pictures that are encoded to estimate what all will take
_VARIED = 256  # pictures that are drawn with and without psi to tell what it costs in variety
_SPARE = 1 << 24  # bytes left free for the file system itself

Progress = Callable[[int, int], None]  # pictures more, bytes more
Expect = Callable[[int], None]  # pictures that are to be drawn from here on


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
class DatasetRequest:
    """What a user asks for; with a generator it becomes a Job."""

    seed: int
    start: int
    count: int
    format: str
    label: int | str = "random"
    psi: float = 1.0
    filter: str | None = None  # "confidence<0.9", by source.classifier
    shard_size: int | None = None
    slice: Partition = field(default_factory=Partition)
    workers: int | None = None
    ray: str | None = None  # a cluster's address, see ray_crew.join


def make_job(source: GeneratorSource, request: DatasetRequest, generator: Generator) -> DatasetPlan:
    """Raises GanExportError for what can't be drawn or doesn't fit the format."""
    format = formats.find(request.format)
    facts, info = generator.facts, generator.session.info
    format.check(facts)
    names = []
    if request.filter is not None:
        if request.slice.of > 1:
            raise GanExportError("--filter decides over the whole run; leave --shard out")
        if request.ray is not None and source.classifier != filters.DIGITS:
            raise GanExportError("a classifier's file doesn't travel to a cluster's nodes; leave --ray out")
        classifier = evaluators.find(source.classifier)
        classifier.check(facts.image)
        names.append(filters.Confidence.parse(request.filter, classifier.name).name)
    choose_labels(facts, request.label, 0, 0, 1)  # type: ignore[arg-type]
    explicit = {k: v for k, v in source.overrides.items() if v != getattr(ReadOptions(), k)}
    job = DatasetPlan(
        generator=source.path.name, sha256=generator_files.sha256(source.path), facts=facts, runtime=info.runtime,
        version=info.version, seed=request.seed, start=request.start, count=request.count, format=format.name,
        shard_size=format.shard_size(facts) if request.shard_size is None else request.shard_size, label=request.label,
        psi=request.psi, filters=tuple(names), overrides=explicit, encoder=format.encoder(),
    )  # fmt: skip
    job.check()
    return job


def run(
    source: GeneratorSource,
    request: DatasetRequest,
    target: str,
    *,
    progress: Progress = lambda pictures, size: None,
    expect: Expect = lambda pictures: None,
) -> Report:
    """Draw what is asked for into `target`, as far as it isn't there yet.  Images are those of `gan-sample`.

    expect: told how many pictures `progress` will hear of from then on, those that filters only look at among them.
    An interrupt or a kill leaves finished shards, which the next run of the same job keeps.
    Raises GanExportError, with nothing changed, for what can't be done.
    """
    begun = time.perf_counter()
    store = open_store(target)
    _check_target(store, None)
    here = source if request.ray is None else replace(source, device="cpu")  # the nodes have the GPUs
    with here.open(request.psi) as generator:
        job = make_job(source, request, generator)
        _check_target(store, job)
        if not isinstance(store, Folder) and formats.find(job.format).wholes(job, job.count):
            raise GanExportError(f"{job.format} is written in place, which {store.shown} can't; use --format npy")
        variety = _variety(generator, job) if request.psi != 1.0 and not _psi_is_noted(store) else {}
        missing = _Count(request.slice, job, store).missing
        if missing:
            _check_room(generator, job, store, missing)
    with _worker_pool(source, job, request, target) as pool, _held(store, request.slice):
        store.create(manifest.JOB, manifest.encode_job(job))
        _check_target(store, job)  # another run may have begun in between
        if variety and store.read(MANIFEST) is None:
            manifest.write_notes(store, {**manifest.read_notes(store), "psi": variety})
        prepared = resume.prepare(
            store,
            job,
            request.slice,
            lambda shards: _survey(pool, store, job, shards, progress=progress, expect=expect),
        )
        drawn, records = 0, list(prepared.sound)
        if prepared.missing:
            expect(_pictures(job, prepared.missing))
            for record in pool.draw(prepared.missing, lambda n: progress(n, 0)):
                records.append(record)
                drawn += record.count
                progress(0, record.bytes)
        left = resume.finish(store, job)
        done = manifest.read(store)
    pictures, size = total(records)
    return Report(
        len(records), pictures, size, drawn, len(prepared.sound), prepared.faults, time.perf_counter() - begun,
        pool.seconds, dict(done.notes) if done else {}, left == 0, left,
    )  # fmt: skip


class _Count:
    """How many pictures a slice lacks, counted without looking into any shard."""

    def __init__(self, slice: Partition, job: DatasetPlan, store: Store) -> None:
        wanted = slice.of_job(job)
        if store.read(MANIFEST) is not None:
            self.missing = 0
        else:
            done = len(store.names(f"{STATE}/shards")) if slice.of == 1 else len(manifest.finished(store, wanted))
            self.missing = max(0, len(wanted) - done) * job.shard_size


def _survey(
    pool: WorkerPool | RayPool, store: Store, job: DatasetPlan, shards: list[int], *, progress: Progress, expect: Expect
) -> None:
    """Every shard drawn once for the filters, and their decision."""
    if shards:
        done = set(manifest.finished(store, range(job.shards)))
        later = [k for k in range(job.shards) if k not in done]
        expect(_pictures(job, shards) + _pictures(job, later))
        for _ in pool.draw(shards, lambda n: progress(n, 0), look=True):
            pass
    filters.decide(store, job)


def _pictures(job: DatasetPlan, shards: Sequence[int]) -> int:
    """How many these shards have; all but the plan's last are full."""
    lacking = job.shards * job.shard_size - job.count
    return len(shards) * job.shard_size - (lacking if job.shards - 1 in shards else 0)


def _psi_is_noted(store: Store) -> bool:
    return store.read(MANIFEST) is not None or "psi" in manifest.read_notes(store)


def _variety(generator: Generator, job: DatasetPlan) -> dict[str, Any]:
    """How far apart pictures are with psi, against without: the mean distance between neighbours' pixels."""
    whole, shrunk = (_spread(replace(generator, psi=psi), job) for psi in (1.0, generator.psi))
    return {"psi": generator.psi, "variety": round(shrunk / whole, 3) if whole else 0.0, "of": _VARIED}


def _spread(generator: Generator, job: DatasetPlan) -> int:
    """The sum of all distances between neighbours' pixels, drawn in batches that bound memory as a worker's do."""
    spread, batch = 0, batch_size(job)
    last: NDArray[np.int16] | None = None
    for first in range(0, _VARIED, batch):
        n = min(batch, _VARIED - first)
        drawn = generator.draw(job.seed, first, n, job.label).astype(np.int16)  # type: ignore[arg-type]
        pictures = drawn if last is None else np.concatenate([last, drawn])
        spread += int(np.abs(np.diff(pictures, axis=0)).sum(dtype=np.int64))
        last = pictures[-1:]
    return spread


def _check_target(store: Store, job: DatasetPlan | None) -> None:
    """Refuse a place that holds something else."""
    found = _job_there(store) or _job_there(store)  # between its two reads another slice may have finished
    where = store.shown
    if found is not None and job is not None and (difference := job.difference(found)):
        raise GanExportError(f"{where} holds another run ({difference}); name another folder with -o, or remove it")
    if found is None and any(n != STATE for n in store.names("")):
        raise GanExportError(f"{where} holds other files; name another folder with -o")


def _job_there(store: Store) -> DatasetPlan | None:
    finished = manifest.read(store)
    return finished.job if finished else manifest.job_under_way(store)


def _check_room(generator: Generator, job: DatasetPlan, store: Store, pictures: int) -> None:
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


def _trial(generator: Generator, job: DatasetPlan) -> int:
    """Bytes on a disk that a picture takes, rounded up."""
    n = min(_TRIAL, job.count)
    small = replace(job, count=n, shard_size=n, filters=())
    scratch = Path(tempfile.mkdtemp(prefix="gan-sample-"))
    try:
        place = ShardOutput(scratch, scratch, 0, n, Stopwatch())
        writer = ShardWriter(generator, small, Folder(scratch), scratch)
        formats.find(job.format).write(place, small, Shard(0, job.start, n), writer.parts(small.shard(0), None))
        return -(-room(scratch) // n)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _worker_pool(
    source: GeneratorSource, job: DatasetPlan, request: DatasetRequest, target: str
) -> Iterator[WorkerPool | RayPool]:
    source = replace(source, runtime=job.runtime)
    if request.ray is None:
        workers, threads, ahead = _manning(source, job, request.workers)
        yield WorkerPool(job, replace(source, threads=threads), target, workers, ahead=ahead)
        return
    with ray_pool.join(request.ray, job, source, target, request.workers, light=_light(source, job)) as pool:
        yield pool


def _light(source: GeneratorSource, job: DatasetPlan) -> bool:
    """Whether a process a core is the way to draw: where it is no great thing to load, and a core is what draws."""
    return source.device == "cpu" and job.runtime in ("native", "onnxruntime")


def _manning(source: GeneratorSource, job: DatasetPlan, asked: int | None) -> tuple[int, int, bool]:
    """(workers, threads of each, whether a worker draws ahead while it encodes).

    An engine that is light gets a process a core, each with one thread: nothing waits for anything.  A GPU, or
    PyTorch with its large libraries, gets one process, which draws ahead.
    """
    cores = resume.cores()
    workers = min(asked or (cores if _light(source, job) else 1), job.shards)
    threads = source.threads or max(1, cores // workers)
    return workers, threads, workers < cores or source.device != "cpu"


def _held(store: Store, slice: Partition) -> contextlib.AbstractContextManager[None]:
    return lock.hold(store.path, slice) if isinstance(store, Folder) else contextlib.nullcontext()
