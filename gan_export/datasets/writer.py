"""Draws one shard after another and lays each down whole: the unit of work of a process, a batch job, a Ray task."""

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

_BATCH_BYTES = 1 << 24  # of a batch as float32: bounds a worker's memory at any size of picture


@dataclass(frozen=True, slots=True)
class GeneratorSource:
    """A generator file, and how to run it here: what may differ between the machines of one job."""

    path: Path
    runtime: str | None = None
    device: str = "cpu"
    threads: int | None = None
    classifier: str = DIGITS  # the evaluator that filters ask: a name, or an ONNX file's path
    overrides: dict[str, Any] = field(default_factory=dict)

    def to_data(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**asdict(self), "path": str(self.path)}

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> GeneratorSource:
        return GeneratorSource(**{**data, "path": Path(data["path"])})

    @contextlib.contextmanager
    def open(self, psi: float = 1.0) -> Iterator[generators.Generator]:
        """The generator, loaded."""
        with generators.open_generator(
            self.path,
            ReadOptions(**self.overrides),
            runtime=self.runtime,
            device=self.device,
            threads=self.threads,
            psi=psi,
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
        """shared: the folder of the files that all shards fill.  ahead: draw the next batch while one is encoded."""
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
        """Draw, lay down, publish and record shard k."""
        return self.lay(k)()

    def look(self, k: int) -> Callable[[], ShardRecord]:
        """Draw shard k for the filters alone; the returned call notes what the classifier gave."""
        shard = self._job.shard(k)
        evaluator = evaluators.find(self._classifier)
        looks = [look(part, evaluator) for part in self.parts(shard, None)]
        data = np.concatenate(looks).tobytes()

        def note() -> ShardRecord:
            self._store.write(look_name(self._job, k), data)
            return ShardRecord(k, shard.start, shard.count, shard.count, ())

        return note

    def lay(self, k: int) -> Callable[[], ShardRecord]:
        """Draw shard k into a scratch folder; what is left, a wait for the disk, is the call that is returned."""
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
        """The shard's pictures in batches, without those that a filter leaves out."""
        batch = batch_size(self._job)
        generator, job = self._generator, self._job
        for first in range(0, shard.count, batch):
            n = min(batch, shard.count - first)
            chosen = None if mask is None else mask[first : first + n]
            self._progress(n)
            if chosen is not None and not chosen.any():
                continue
            start = shard.start + first
            with self.meter.of("drawing"):
                labels = generators.choose_labels(job.facts, job.label, job.seed, start, n)  # type: ignore[arg-type]
                pictures = generator.draw_labelled(job.seed, start, n, labels)
            indices = np.uint64(start) + np.arange(n, dtype=np.uint64)
            if chosen is None:
                yield ImageBatch(indices, pictures, labels)
            else:
                yield ImageBatch(indices[chosen], pictures[chosen], None if labels is None else labels[chosen])


def batch_size(job: DatasetPlan) -> int:
    """How many pictures are drawn at once."""
    return max(1, min(generators.BATCH, _BATCH_BYTES // (4 * job.picture_bytes)))


def shared_folder(path: Path) -> Path:
    """Where files that all shards fill lie until the dataset is finished."""
    return path / STATE


def _ahead(parts: Iterator[ImageBatch]) -> Iterator[ImageBatch]:
    """The same parts, the next one drawn by a thread meanwhile: for a generator that doesn't use this core."""
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
