"""What a run draws, cut into shards.  Two runs of one job write the same bytes, whoever draws which shard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gan_export import latents
from gan_export._lib.schema import decode
from gan_export.errors import GanExportError, printable
from gan_export.formats.manifest import Facts
from gan_export.recognize.options import ReadOptions

_MOST = (1 << 63) - 1  # signed 64-bit counts are what readers of every format have

_LARGEST_PICTURE = 1 << 28  # values


@dataclass(frozen=True, slots=True)
class DatasetPlan:
    """Everything that decides the bytes of a dataset, and nothing else: no path, no machine, no time.

    generator:  the file's name; sha256: its content, which is what counts
    runtime:    what draws, and version: of the library
    label:      a label's number, "all" or "random"
    psi:        latents are multiplied by it
    filters:    names of the filters, in order
    overrides:  what the user said of a checkpoint
    encoder:    the library that compresses pictures, and its version; empty where none does
    """

    generator: str
    sha256: str
    facts: Facts
    runtime: str
    version: str
    seed: int
    start: int
    count: int
    format: str
    shard_size: int
    label: int | str = "random"
    psi: float = 1.0
    filters: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    encoder: str = ""
    latent_law: str = latents.LAW

    def check(self) -> None:
        """Raises GanExportError for what can't be drawn."""
        if self.count < 1:
            raise GanExportError(f"-n {self.count}: ask for at least one picture")
        if self.count > _MOST:
            raise GanExportError(f"-n {self.count}: at most 2^63-1 pictures are possible")
        if self.shard_size < 1:
            raise GanExportError(f"--shard-size {self.shard_size}: at least 1 is needed")
        latents.check(self.seed, self.start, self.count)

    @property
    def shards(self) -> int:
        """How many shards the plan has."""
        return -(-self.count // self.shard_size)

    @property
    def picture_bytes(self) -> int:
        channels, height, width = self.facts.image
        return channels * height * width

    def shard(self, k: int) -> Shard:
        """Shard k of the plan."""
        first = k * self.shard_size
        return Shard(k, self.start + first, min(self.shard_size, self.count - first))

    def name(self, k: int) -> str:
        """The number of shard k, in as many digits as the last one's but at least five: names sort by index."""
        return f"{k:0{max(5, len(str(self.shards - 1)))}d}"

    def file_name(self, index: int) -> str:
        """The number of a picture, likewise with at least eight digits."""
        return f"{index:0{max(8, len(str(self.start + self.count - 1)))}d}"

    def to_data(self) -> dict[str, Any]:
        """As JSON holds it."""
        data = asdict(self)
        data["filters"] = list(self.filters)
        data["facts"]["image"] = list(self.facts.image)
        data["facts"]["range"] = list(self.facts.range) if self.facts.range else None
        data["overrides"] = dict(self.overrides)
        return data

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> DatasetPlan:
        """Return the job that `to_data` gave `data` for.  Raises GanExportError if it is none."""
        where = "its job can't be read"
        job = decode(DatasetPlan, data, where)
        decode(ReadOptions, job.overrides, where, "overrides")
        facts = job.facts
        if facts.nz < 1 or facts.classes < 0 or min(facts.image) < 1 or job.picture_bytes > _LARGEST_PICTURE:
            raise GanExportError(f"{where}: no generator has its facts")
        job.check()
        return job

    def difference(self, other: DatasetPlan) -> str:
        """The first thing in which two jobs differ, in words; empty when they are one."""
        mine, theirs = self.to_data(), other.to_data()
        for key, value in mine.items():
            if value != theirs[key] and key != "generator":
                return f"{key} {printable(str(theirs[key]), 80)}, not {printable(str(value), 80)}"
        return ""


@dataclass(frozen=True, slots=True)
class Shard:
    """Images start .. start+count-1: the part `index` of a plan."""

    index: int
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class Partition:
    """Part `number` of `of`, for a batch queue: the shards number-1, number-1+of, ...; 1/1 is everything."""

    number: int = 1
    of: int = 1

    @staticmethod
    def parse(text: str) -> Partition:
        """From "3/16".  Raises GanExportError for what is none."""
        first, slash, second = text.partition("/")
        numbers = first.isdecimal() and second.isdecimal() and max(len(first), len(second)) < 20
        if not slash or not numbers or not 1 <= int(first) <= int(second):
            raise GanExportError(f"--shard {printable(text)}: 1/16 to 16/16 are the parts of 16")
        return Partition(int(first), int(second))

    def of_job(self, job: DatasetPlan) -> range:
        """The numbers of its shards."""
        return range(self.number - 1, job.shards, self.of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"
