"""Run a job: check that it can be done, generate the missing shards, and write the manifest."""

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
from gan_export.errors import GanExportError, Topic, linked
from gan_export.metrics import evaluators
from gan_export.recognize.options import ReadOptions
from gan_export.sampling.generator import Generator, choose_labels

_TRIAL = 64  # images that are encoded to estimate the dataset's size
_VARIED = 256  # images that are generated with and without the latent scale to measure the loss of variety
_SPARE = 1 << 24  # bytes left free for the file system itself

Progress = Callable[[int, int], None]  # (additional images, additional bytes)
Expect = Callable[[int], None]  # number of images to generate from here on


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a run.

    shards, `pictures`, bytes: finished by this run or by earlier ones, in this run's slice
    drawn:     images that this run generated; kept_shards: number of shards that earlier runs had finished
    redrawn:   a text for each damaged shard of an earlier run
    seconds:   elapsed time; spent: seconds of all workers by kind of work, with "all"
    notes:     the manifest's notes on the latent scale and the filters
    complete:  whether the dataset is finished; left: the number of unfinished shards
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
    """The user's options, which with a generator make a DatasetPlan."""

    seed: int
    start: int
    count: int
    format: str
    label: int | str = "random"
    latent_scale: float = 1.0
    filter: str | None = None  # "confidence<0.9", by source.classifier
    shard_size: int | None = None
    slice: Partition = field(default_factory=Partition)
    workers: int | None = None
    ray: str | None = None  # a cluster's address, see ray_pool.join


def make_job(source: GeneratorSource, request: DatasetRequest, generator: Generator) -> DatasetPlan:
    """Return the plan of a request; raise GanExportError for an invalid one, or images that don't fit the format."""
    format = formats.find(request.format)
    signature, info = generator.signature, generator.session.info
    format.check(signature)
    names = []
    if request.filter is not None:
        if request.slice.of > 1:
            raise GanExportError("filter= needs the whole run; leave part= out")
        if request.ray is not None and source.classifier != filters.DIGITS:
            raise GanExportError("the file of a classifier isn't sent to the nodes of a cluster; leave ray= out")
        classifier = evaluators.find(source.classifier)
        classifier.check(generator.image)
        names.append(filters.Confidence.parse(request.filter, classifier.name).name)
    choose_labels(signature, request.label, 0, range(1))  # type: ignore[arg-type]
    explicit = {
        k: list(v) if isinstance(v, tuple) else v for k, v in ReadOptions.of(source.overrides).explicit().items()
    }
    job = DatasetPlan(
        generator=source.path.name, sha256=generator_files.sha256(source.path), signature=signature,
        runtime=info.runtime, version=info.version, seed=request.seed, start=request.start, count=request.count,
        format=format.name,
        shard_size=format.shard_size(signature) if request.shard_size is None else request.shard_size,
        label=request.label, latent_scale=request.latent_scale, filters=tuple(names), overrides=explicit,
        encoder=format.encoder(),
        arithmetic="int16" if info.precision == "int16" else "float32",
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
    """Generate the missing shards of a dataset in `target`, with the images of `gan-sample`.

    expect: called with the number of images that `progress` will count from then on, including those dropped by
    filters. After an interrupt or a kill, the next run of the same job keeps the finished shards.
    Raises GanExportError, with nothing changed, if the request can't be fulfilled.
    """
    begun = time.perf_counter()
    store = open_store(target)
    _check_target(store, None)
    here = source if request.ray is None else replace(source, device="cpu")  # the nodes have the GPUs
    with here.open(request.latent_scale) as generator:
        job = make_job(source, request, generator)
        _check_target(store, job)
        if not isinstance(store, Folder) and formats.find(job.format).wholes(job, job.count):
            raise GanExportError(
                f"{job.format} is written in place, which {store.shown} doesn't support; use format=npy"
            )
        variety = _variety(generator, job) if request.latent_scale != 1.0 and not _scale_is_noted(store) else {}
        missing = _Count(request.slice, job, store).missing
        if missing:
            _check_room(generator, job, store, missing)
    with _worker_pool(source, job, request, target) as pool, _held(store, request.slice):
        store.create(manifest.JOB, manifest.encode_job(job))
        _check_target(store, job)  # another run may have begun meanwhile
        if variety and store.read(MANIFEST) is None:
            manifest.write_notes(store, {**manifest.read_notes(store), "latent_scale": variety})
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
    """The number of images that a slice lacks, counted without reading any shard."""

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
    """Generate every shard once for the filters, and let them decide."""
    if shards:
        done = set(manifest.finished(store, range(job.shards)))
        later = [k for k in range(job.shards) if k not in done]
        expect(_pictures(job, shards) + _pictures(job, later))
        for _ in pool.draw(shards, lambda n: progress(n, 0), look=True):
            pass
    filters.decide(store, job)


def _pictures(job: DatasetPlan, shards: Sequence[int]) -> int:
    """Return the number of images in these shards; all but the plan's last are full."""
    lacking = job.shards * job.shard_size - job.count
    return len(shards) * job.shard_size - (lacking if job.shards - 1 in shards else 0)


def _scale_is_noted(store: Store) -> bool:
    return store.read(MANIFEST) is not None or "latent_scale" in manifest.read_notes(store)


def _variety(generator: Generator, job: DatasetPlan) -> dict[str, Any]:
    """Return the spread of images with the latent scale and without: the mean distance between neighbors' pixels."""
    whole, shrunk = (_spread(replace(generator, latent_scale=s), job) for s in (1.0, generator.latent_scale))
    return {
        "latent_scale": generator.latent_scale,
        "variety": round(shrunk / whole, 3) if whole else 0.0,
        "of": _VARIED,
    }


def _spread(generator: Generator, job: DatasetPlan) -> int:
    """Return the sum of all distances between neighbors' pixels; batches limit the memory as in a worker."""
    spread, batch = 0, batch_size(job)
    last: NDArray[np.int16] | None = None
    for first in range(0, _VARIED, batch):
        n = min(batch, _VARIED - first)
        drawn = generator.sample(n, seed=job.seed, start=first, labels=job.label).astype(np.int16)
        pictures = drawn if last is None else np.concatenate([last, drawn])
        spread += int(np.abs(np.diff(pictures, axis=0)).sum(dtype=np.int64))
        last = pictures[-1:]
    return spread


@linked(Topic.DATASET_RUNS)
def _check_target(store: Store, job: DatasetPlan | None) -> None:
    """Raise GanExportError if the target contains anything else."""
    # between the two reads of `_job_there`, another slice may have finished
    found = _job_there(store) or _job_there(store)
    where = store.shown
    if found is not None and job is not None and (difference := job.difference(found)):
        raise GanExportError(
            f"{where} holds another run ({difference}); name another folder with target=, or remove it"
        )
    if found is None and any(n != STATE for n in store.names("")):
        raise GanExportError(f"{where} contains other files; name another folder with target=")


def _job_there(store: Store) -> DatasetPlan | None:
    finished = manifest.read(store)
    return finished.job if finished else manifest.job_under_way(store)


def _check_room(generator: Generator, job: DatasetPlan, store: Store, pictures: int) -> None:
    """Raise GanExportError if there isn't enough space, estimated from the first few images."""
    free = store.free()
    if free is None:
        return
    wholes = formats.find(job.format).wholes(job, job.count)
    need = sum(w.size for w in wholes) * pictures // job.count if wholes else _trial(generator, job) * pictures
    if need + _SPARE > free:
        raise GanExportError(
            f"{job.count:,} images take about {need / 1e9:,.1f} GB as {job.format}, and {free / 1e9:,.1f} GB are "
            "free; use a smaller count=, another format=, or another place with target="
        )


def _trial(generator: Generator, job: DatasetPlan) -> int:
    """Return the bytes on a disk per image, rounded up."""
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
    """Return whether to use one process per core: for CPU runtimes that load quickly."""
    return source.device == "cpu" and job.runtime in ("native", "onnxruntime")


def _manning(source: GeneratorSource, job: DatasetPlan, asked: int | None) -> tuple[int, int, bool]:
    """Return (workers, threads of each, whether a worker generates ahead while it encodes).

    A small engine gets one process per core, each with one thread, so that none waits for another.  A GPU, or PyTorch
    with its large libraries, gets one process, which generates ahead.
    """
    cores = resume.cores()
    workers = min(asked or (cores if _light(source, job) else 1), job.shards)
    threads = source.threads or max(1, cores // workers)
    return workers, threads, workers < cores or source.device != "cpu"


def _held(store: Store, slice: Partition) -> contextlib.AbstractContextManager[None]:
    return lock.hold(store.path, slice) if isinstance(store, Folder) else contextlib.nullcontext()
