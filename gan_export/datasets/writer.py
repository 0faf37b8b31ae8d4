"""Generate and write one shard after another: the unit of work of a process, a batch job or a Ray task."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gan_export.datasets import formats, manifest
from gan_export.datasets.filter_masks import read_keep
from gan_export.datasets.filters import DIGITS, look, look_name
from gan_export.datasets.formats.base import ImageBatch, ShardOutput, Stopwatch
from gan_export.datasets.plan import DatasetPlan, Shard
from gan_export.datasets.records import ShardRecord
from gan_export.datasets.store import STATE, Store
from gan_export.metrics import evaluators
from gan_export.recognize.options import ReadOptions
from gan_export.sampling import generator as generators
from gan_export.sampling.opening import open_generator

_BATCH_BYTES = 1 << 24  # of a batch as float32: limits a worker's memory for any size of image


@dataclass(frozen=True, slots=True)
class GeneratorSource:
    """A generator file, and how to run it here: the settings that may differ between the machines of one job."""

    path: Path
    runtime: str | None = None
    device: str = "cpu"
    threads: int | None = None
    classifier: str = DIGITS  # the evaluator of the filters: a name, or an ONNX file's path
    overrides: dict[str, Any] = field(default_factory=dict)  # the whole reading: processes don't look for evidence
    strict: bool = False  # see `open_generator`

    def to_data(self) -> dict[str, Any]:
        """Return the settings as JSON data."""
        return {**asdict(self), "path": str(self.path)}

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> GeneratorSource:
        return GeneratorSource(**{**data, "path": Path(data["path"])})

    @contextlib.contextmanager
    def open(self, latent_scale: float = 1.0) -> Iterator[generators.Generator]:
        """Open the generator."""
        with open_generator(
            self.path,
            ReadOptions.of(self.overrides),
            runtime=self.runtime,
            device=self.device,
            threads=self.threads,
            latent_scale=latent_scale,
            strict=self.strict,
            by_evidence=False,
        ) as generator:
            yield generator


class ShardWriter:
    """Writes any shards of a job, in any order.  Not thread-safe."""

    def __init__(
        self,
        generator: generators.Generator,
        job: DatasetPlan,
        store: Store,
        shared: Path,
        *,
        classifier: str = DIGITS,
        ahead: bool = False,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Make a writer.

        shared: the folder of the files that all shards fill
        ahead:  whether to generate the next batch while one is encoded
        """
        self.meter = Stopwatch()
        self._generator = generator
        self._job = job
        self._store = store
        self._shared = shared
        self._format = formats.find(job.format)
        self._classifier = classifier
        self._ahead = ahead
        self._progress = progress

    def write(self, k: int) -> ShardRecord:
        """Generate, write, publish and record shard k."""
        return self.lay(k)()

    def look(self, k: int) -> Callable[[], ShardRecord]:
        """Generate and classify shard k for the filters; the returned call stores the confidences."""
        shard = self._job.shard(k)
        evaluator = evaluators.find(self._classifier)
        looks = [look(part, evaluator) for part in self.parts(shard, None)]
        data = np.concatenate(looks).tobytes()

        def note() -> ShardRecord:
            self._store.write(look_name(self._job, k), data)
            return ShardRecord(k, shard.start, shard.count, shard.count, ())

        return note

    def lay(self, k: int) -> Callable[[], ShardRecord]:
        """Generate shard k into a scratch folder.

        The returned call, which waits for the disk, publishes and records it.
        """
        shard = self._job.shard(k)
        keep = read_keep(self._store, self._job, shard) if self._job.filters else None
        row, mask = keep or (k * self._job.shard_size, None)
        kept = shard.count if mask is None else int(mask.sum())
        with contextlib.ExitStack() as stack:
            scratch = stack.enter_context(self._store.scratch())
            place = ShardOutput(scratch, self._shared, row, kept, self.meter)
            parts = self.parts(shard, mask)
            pieces = self._format.write(place, self._job, shard, _ahead(parts) if self._ahead else parts)
            record = ShardRecord(k, shard.start, shard.count, kept, pieces)
            rest = stack.pop_all()

        def publish() -> ShardRecord:
            with rest:
                for piece in record.pieces:
                    self._store.publish(scratch, piece)
                manifest.write_record(self._store, self._job, record)
            return record

        return publish

    def parts(self, shard: Shard, mask: Any) -> Iterator[ImageBatch]:
        """Yield the shard's images in batches, without those that a filter drops."""
        batch = batch_size(self._job)
        generator, job = self._generator, self._job
        for first in range(0, shard.count, batch):
            n = min(batch, shard.count - first)
            chosen = None if mask is None else mask[first : first + n]
            self._progress(n)
            if chosen is not None and not chosen.any():
                continue
            start = shard.start + first
            with self.meter.of("generating"):
                labels = generators.choose_labels(job.signature, job.label, job.seed, range(start, start + n))  # type: ignore[arg-type]
                pictures = generator.sample(n, seed=job.seed, start=start, labels=labels)
            indices = np.uint64(start) + np.arange(n, dtype=np.uint64)
            if chosen is None:
                yield ImageBatch(indices, pictures, labels)
            else:
                yield ImageBatch(indices[chosen], pictures[chosen], None if labels is None else labels[chosen])


def batch_size(job: DatasetPlan) -> int:
    """Return how many images are generated at once."""
    return max(1, min(generators.BATCH, _BATCH_BYTES // (4 * job.picture_bytes)))


def shared_folder(path: Path) -> Path:
    """Return the folder of files that all shards fill, until the dataset is finished."""
    return path / STATE


def _ahead(parts: Iterator[ImageBatch]) -> Iterator[ImageBatch]:
    """Yield the same batches, each generated by a thread in advance, for a generator that doesn't use this core."""
    ready: queue.Queue[ImageBatch | BaseException | None] = queue.Queue(maxsize=2)
    stop = threading.Event()

    def draw() -> None:
        last: BaseException | None = None
        try:
            for part in parts:
                while not stop.is_set():
                    with contextlib.suppress(queue.Full):
                        ready.put(part, timeout=0.1)
                        break
                if stop.is_set():
                    return
        except BaseException as e:
            last = e
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(last, timeout=0.1)
                return

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
