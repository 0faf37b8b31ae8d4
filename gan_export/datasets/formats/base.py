"""The interface of dataset formats: a format writes the images of one shard as files."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gan_export.datasets.plan import DatasetPlan, Shard
from gan_export.datasets.records import OutputFile, ShardRecord
from gan_export.graph.signature import Signature
from gan_export.graph.views import row_of

Bytes = NDArray[np.uint8]
Indices = NDArray[np.uint64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Some images of a shard, in order of their index."""

    indices: Indices
    pictures: Bytes
    labels: Labels | None


@dataclass(slots=True)
class Stopwatch:
    """Seconds by kind of work."""

    seconds: dict[str, float] = field(default_factory=lambda: {"generating": 0.0, "encoding": 0.0, "disk": 0.0})

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] += time.perf_counter() - begun


@dataclass(frozen=True, slots=True)
class ShardOutput:
    """The folders that a shard is written to: a scratch folder of its own, and that of files that all shards share.

    row:  number of images that the shards before it keep; kept: number of images that it keeps itself
    """

    scratch: Path
    shared: Path
    row: int
    kept: int
    meter: Stopwatch


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A file that all shards fill, created once: `header` and then zeros up to `size`."""

    name: str
    header: bytes
    size: int


class Format(Protocol):
    """A dataset format.  It has no state: any process may write any shard at any time."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str:
        """One line for --help."""
        ...

    def check(self, signature: Signature) -> None:
        """Raise GanExportError for a generator whose images don't fit, UnavailableError for a missing library."""
        ...

    def shard_size(self, signature: Signature) -> int:
        """Return the default number of images per shard."""
        ...

    def encoder(self) -> str:
        """Return the library whose version decides the bytes, with that version; empty if there is none."""
        ...

    def wholes(self, job: DatasetPlan, kept: int) -> tuple[SharedFile, ...]:
        """Return the files that all shards share, for `kept` images; none if each shard has files of its own."""
        ...

    def write(
        self, place: ShardOutput, job: DatasetPlan, shard: Shard, parts: Iterable[ImageBatch]
    ) -> tuple[OutputFile, ...]:
        """Write a shard's own files into place.scratch, under the names that they have in the dataset.

        The same images give the same bytes, whatever batches they come in.
        """
        ...

    def read(self, folder: Path, job: DatasetPlan, record: ShardRecord) -> Iterator[tuple[int, Bytes, int | None]]:
        """Yield (index, image (H, W, C), label) of a finished shard, in order."""
        ...


def usual_shard(signature: Signature) -> int:
    """Return 10,000 images, or as many as fit in 128 MiB."""
    return max(1, min(10_000, (1 << 27) // math.prod(row_of(signature))))
