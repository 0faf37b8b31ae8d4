"""Plan a dataset as shards of images; two runs of one plan write the same bytes, with any workers in any order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from gan_export import latents
from gan_export._lib.schema import decode
from gan_export.errors import GanExportError, printable
from gan_export.graph.signature import Signature
from gan_export.graph.views import classes_of, row_of
from gan_export.graph.words import Prior
from gan_export.recognize.options import ReadOptions

_MOST = (1 << 63) - 1  # readers of every format count in signed 64 bits

_LARGEST_PICTURE = 1 << 28  # values


@dataclass(frozen=True, slots=True)
class DatasetPlan:
    """A dataset's plan: all that decides its bytes, and nothing else (no path, machine or time).

    generator:  the file's name; sha256: of its content, which identifies it
    runtime:    the runtime's name; version: of its library
    label:      the number of a label, "all" or "random"
    latent_scale: a factor of the latents
    filters:    names of the filters, in order
    overrides:  the user's flags for reading a checkpoint
    encoder:    the library that compresses images, with its version; empty if there is none
    arithmetic: "int16" if the runtime multiplied 16-bit numbers: then another processor's bytes differ more
    """

    generator: str
    sha256: str
    signature: Signature
    runtime: str
    version: str
    seed: int
    start: int
    count: int
    format: str
    shard_size: int
    label: int | str = "random"
    latent_scale: float = 1.0
    filters: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    encoder: str = ""
    arithmetic: str = "float32"
    latent_law: str = latents.LAW

    def check(self) -> None:
        """Raise GanExportError for values out of range."""
        if self.count < 1:
            raise GanExportError(f"count={self.count}: must be at least 1")
        if self.count > _MOST:
            raise GanExportError(f"count={self.count}: must be at most 2^63-1")
        if self.shard_size < 1:
            raise GanExportError(f"shard_size={self.shard_size}: must be at least 1")
        latents.check(self.seed, self.start, self.count)

    @property
    def shards(self) -> int:
        """Return the number of shards."""
        return -(-self.count // self.shard_size)

    @property
    def row(self) -> tuple[int, ...]:
        """The shape of an image as bytes: (H, W, C); (D, H, W, C) of a volume, (L, C) of a signal."""
        return row_of(self.signature)

    @property
    def classes(self) -> int:
        """The number of labels, 0 for none."""
        return classes_of(self.signature)

    @property
    def picture_bytes(self) -> int:
        return math.prod(self.row)

    def shard(self, k: int) -> Shard:
        """Return shard k."""
        first = k * self.shard_size
        return Shard(k, self.start + first, min(self.shard_size, self.count - first))

    def name(self, k: int) -> str:
        """Return the number of shard k, with leading zeros (at least five digits) so that names sort by number."""
        return f"{k:0{max(5, len(str(self.shards - 1)))}d}"

    def file_name(self, index: int) -> str:
        """Return the number of an image, with leading zeros (at least eight digits)."""
        return f"{index:0{max(8, len(str(self.start + self.count - 1)))}d}"

    def to_data(self) -> dict[str, Any]:
        """Return the plan as JSON data."""
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        data["filters"] = list(self.filters)
        data["signature"] = self.signature.to_data()
        data["overrides"] = dict(self.overrides)
        if self.arithmetic == "float32":  # as it was before there was another
            del data["arithmetic"]
        return data

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> DatasetPlan:
        """Return the plan of data that `to_data` returned; raise GanExportError if it is invalid."""
        where = "the job of the dataset can't be read"
        job = decode(DatasetPlan, _of_signature(renamed(data), where), where)
        decode(ReadOptions, job.overrides, where, "overrides")
        if job.picture_bytes > _LARGEST_PICTURE:
            raise GanExportError(f"{where}: no generator has its image of {job.row}")
        job.check()
        return job

    def difference(self, other: DatasetPlan) -> str:
        """Return the first difference between two plans as text; empty if they are equal."""
        mine, theirs = self.to_data(), other.to_data()
        for key, value in mine.items():
            if value != theirs[key] and key != "generator":
                return f"{key} {printable(str(theirs[key]), 80)}, not {printable(str(value), 80)}"
        return ""


@dataclass(frozen=True, slots=True)
class _Facts:
    """The fields that plans of the first datasets have instead of a signature."""

    arch: str
    nz: int
    prior: Prior
    classes: int
    image: tuple[int, int, int]
    range: tuple[float, float] | None


def renamed(data: Any) -> Any:
    """Return the data of a plan or of notes with the latent scale under its name; the first datasets call it psi."""
    if not isinstance(data, Mapping) or "psi" not in data or "latent_scale" in data:
        return data
    return {"latent_scale" if k == "psi" else k: v for k, v in data.items()}


def _of_signature(data: Any, where: str) -> Any:
    """Return a plan's data with a signature, also for a plan of the first datasets."""
    if not isinstance(data, Mapping) or "facts" not in data:
        return data
    old = decode(_Facts, data["facts"], where, "facts")
    signature = Signature.of_latent(old.nz, old.prior, old.image, old.classes, old.range)
    return {**{k: v for k, v in data.items() if k != "facts"}, "signature": signature.to_data()}


@dataclass(frozen=True, slots=True)
class Shard:
    """Images start .. start+count-1: shard `index` of a plan."""

    index: int
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class Partition:
    """Part `number` of `of`, for a batch queue: the shards number-1, number-1+of, ...; 1/1 is all."""

    number: int = 1
    of: int = 1

    @staticmethod
    def parse(text: str) -> Partition:
        """Parse "3/16"; raise GanExportError for anything else."""
        first, slash, second = text.partition("/")
        numbers = first.isdecimal() and second.isdecimal() and max(len(first), len(second)) < 20
        if not slash or not numbers or not 1 <= int(first) <= int(second):
            raise GanExportError(f"part={printable(text)}: must be K/N with K from 1 to N, such as 3/16")
        return Partition(int(first), int(second))

    def of_job(self, job: DatasetPlan) -> range:
        """Return the numbers of the part's shards."""
        return range(self.number - 1, job.shards, self.of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"
