"""What a format of datasets is: something that lays one shard's pictures down as files."""

from __future__ import annotations

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
from gan_export.formats.manifest import Facts

Bytes = NDArray[np.uint8]
Indices = NDArray[np.uint64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Some pictures of a shard, in order of their index.

    pictures (N, H, W, C) uint8, indices (N,) uint64, labels (N,) int64 or None for a generator without classes
    """

    indices: Indices
    pictures: Bytes
    labels: Labels | None


@dataclass(slots=True)
class Stopwatch:
    """Seconds spent, by what they were spent on."""

    seconds: dict[str, float] = field(default_factory=lambda: {"drawing": 0.0, "encoding": 0.0, "disk": 0.0})

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] += time.perf_counter() - begun


@dataclass(frozen=True, slots=True)
class ShardOutput:
    """Where a shard goes: a scratch folder of its own, and the folder of the files that all shards share.

    row:  how many pictures the shards before it keep; kept: how many it keeps itself
    """

    scratch: Path
    shared: Path
    row: int
    kept: int
    meter: Stopwatch


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A file that all shards fill: made once, `header` and then zeros up to `size`."""

    name: str
    header: bytes
    size: int


class Format(Protocol):
    """One entry of `FORMATS`.  A format holds nothing: any process may write any shard at any time."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str:
        """One line for --help."""
        ...

    def check(self, facts: Facts) -> None:
        """Raises GanExportError for a generator whose pictures don't fit, UnavailableError for a missing library."""
        ...

    def shard_size(self, facts: Facts) -> int:
        """How many pictures a shard has where the user doesn't say."""
        ...

    def encoder(self) -> str:
        """The library on whose version the bytes depend, with it; empty for none."""
        ...

    def wholes(self, job: DatasetPlan, kept: int) -> tuple[SharedFile, ...]:
        """The files that all shards of `kept` pictures share; none for a format whose shards stand alone."""
        ...

    def write(
        self, place: ShardOutput, job: DatasetPlan, shard: Shard, parts: Iterable[ImageBatch]
    ) -> tuple[OutputFile, ...]:
        """Lay the shard down: its own files in place.scratch under the names that they have in the dataset.

        The same bytes for the same pictures, however they are parted.
        """
        ...

    def read(self, folder: Path, job: DatasetPlan, record: ShardRecord) -> Iterator[tuple[int, Bytes, int | None]]:
        """(index, picture (H, W, C), label) of a finished shard, in order."""
        ...


def usual_shard(facts: Facts) -> int:
    """10,000 pictures, or as many as 128 MiB hold."""
    channels, height, width = facts.image
    return max(1, min(10_000, (1 << 27) // (channels * height * width)))
