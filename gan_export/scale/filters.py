"""Filters: which pictures of a plan a dataset keeps, decided over the whole run before anything is written.

Every shard is drawn once to be looked at: a few bytes a picture on disk.  Then each filter decides in turn, in
memory that doesn't grow with the run, and the shards are drawn again without what it leaves out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gan_export import metrics
from gan_export.artifact import Facts
from gan_export.errors import GanExportError, printable
from gan_export.scale.formats.base import Bytes, Part
from gan_export.scale.job import Job
from gan_export.scale.keep import Mask, write_keep
from gan_export.scale.manifest import read_notes, write_notes
from gan_export.scale.store import STATE, Store

# Of a picture: its perceptual hash, its label, and where a filter asks for it how sure the classifier is of it.
LOOK = np.dtype([("high", "<u8"), ("low", "<u8"), ("label", "<i4"), ("confidence", "<f4")])
Looks = NDArray[Any]  # of dtype LOOK
_AT_ONCE = 1 << 22  # hashes that are compared in memory at once: 64 MiB, and as much again to sort them


class Filter(Protocol):
    """What decides which pictures stay; `find` makes it of its name in a job."""

    @property
    def name(self) -> str: ...

    @property
    def asks_confidence(self) -> bool:
        """Whether the classifier is to look at every picture."""
        ...

    def check(self, facts: Facts) -> None:
        """Raises GanExportError for a generator that it can't judge."""
        ...

    def decide(self, shards: Shards) -> dict[str, Any]:
        """Clear what it leaves out in `shards.masks`; gives what the manifest says of it beside the count."""
        ...


class Shards:
    """What was looked at, shard by shard, and what is kept so far."""

    def __init__(self, store: Store, job: Job) -> None:
        self._store, self._job = store, job
        self.masks: list[Mask] = [np.ones(job.shard(k).count, np.bool_) for k in range(job.shards)]

    def looks(self) -> Iterator[tuple[Mask, Looks]]:
        """(mask, looks) of each shard in order; the mask is that of `masks`."""
        for k, mask in enumerate(self.masks):
            data = self._store.read(look_name(self._job, k))
            if data is None or len(data) != len(mask) * LOOK.itemsize:
                raise GanExportError(f"what was seen of shard {k} is not there; run the command again")
            yield mask, np.frombuffer(data, LOOK)

    @property
    def kept(self) -> int:
        return sum(int(m.sum()) for m in self.masks)


@dataclass(frozen=True, slots=True)
class Reject:
    """Leaves out the pictures that the digit classifier that ships is less sure of than `below`."""

    below: float
    asks_confidence: bool = True

    @staticmethod
    def parse(text: str) -> Reject:
        """From "confidence<0.9".  Raises GanExportError for any other condition."""
        found = re.fullmatch(r"\s*confidence\s*<\s*((\d+\.?\d*|\.\d+)([eE][-+]?\d+)?)\s*", text, re.ASCII)
        if not found or not 0 < float(found[1]) <= 1:
            raise GanExportError(
                f"--reject {printable(text)}: write it as 'confidence<0.9', with a number over 0, at most 1"
            )
        return Reject(float(found[1]))

    @property
    def name(self) -> str:
        return f"confidence<{self.below!r}"

    def check(self, facts: Facts) -> None:
        channels, height, width = facts.image
        metrics.readable(np.zeros((1, height, width, channels), np.uint8))

    def decide(self, shards: Shards) -> dict[str, Any]:
        for mask, look in shards.looks():
            mask[look["confidence"] < self.below] = False
        judge = metrics.judge()
        return {"judge": "the digit classifier that ships", "judge_test_accuracy": judge.accuracy}


@dataclass(frozen=True, slots=True)
class Dedupe:
    """Keeps the first of all pictures with one perceptual hash, over the whole run."""

    name: str = "dedupe"
    asks_confidence: bool = False

    def check(self, facts: Facts) -> None:
        if min(facts.image[1:]) < 16:
            raise GanExportError("--dedupe needs pictures of at least 16x16")

    def decide(self, shards: Shards) -> dict[str, Any]:
        total = sum(len(m) for m in shards.masks)
        parts = 1 << max(0, (total // _AT_ONCE).bit_length())
        for part in range(parts):  # pictures whose hash falls into this part: equal ones fall together
            rows = [np.flatnonzero(mask & (look["low"] % parts == part)) for mask, look in shards.looks()]
            looks = (look for _, look in shards.looks())
            hashes = np.concatenate([look[r][["high", "low"]] for look, r in zip(looks, rows, strict=True)])
            owners = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
            places = np.concatenate(rows)
            _, first = np.unique(hashes, return_index=True)  # the first of equals: the lowest index
            again = np.ones(len(hashes), np.bool_)
            again[first] = False
            for k, row in zip(owners[again].tolist(), places[again].tolist(), strict=True):
                shards.masks[k][row] = False
        return {"hash": "difference hash, 8 rows of 16"}


@dataclass(frozen=True, slots=True)
class Balance:
    """Keeps the first of each label, as many as the rarest has."""

    name: str = "balance"
    asks_confidence: bool = False

    def check(self, facts: Facts) -> None:
        if not facts.classes:
            raise GanExportError("--balance needs a generator with labels; this one has none")

    def decide(self, shards: Shards) -> dict[str, Any]:
        counts = np.zeros(0, np.int64)
        for mask, look in shards.looks():
            more = np.bincount(look["label"][mask], minlength=len(counts))
            more[: len(counts)] += counts
            counts = more
        present = counts[counts > 0]
        most = int(present.min()) if len(present) else 0
        given = np.zeros(len(counts), np.int64)
        for mask, look in shards.looks():
            for label in np.flatnonzero(counts):
                rows = np.flatnonzero(mask & (look["label"] == label))
                mask[rows[max(0, most - given[label]) :]] = False
                given[label] += len(rows)
        return {"each": most, "labels": len(present)}


_NAMED: tuple[Filter, ...] = (Dedupe(), Balance())


def find(name: str) -> Filter:
    """The filter that a job calls so."""
    return next((f for f in _NAMED if f.name == name), None) or Reject.parse(name)


def look(part: Part, job: Job) -> Looks:
    """What the job's filters need to know of some pictures."""
    looks = np.zeros(len(part.pictures), LOOK)
    looks["high"], looks["low"] = difference_hash(part.pictures)
    if part.labels is not None:
        looks["label"] = part.labels
    if any(find(name).asks_confidence for name in job.filters):
        classifier = metrics.judge().classifier
        chances = classifier.probabilities(classifier.features(metrics.readable(part.pictures)))
        looks["confidence"] = chances.max(1)
    return looks


def difference_hash(pictures: Bytes) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """128 bits of each picture (N, H, W, C): whether it darkens from each of 8 x 17 cells to the next in its row.

    Cells are means over areas.  Small changes of tone and noise leave it as it is.
    """
    n, height, width, _ = pictures.shape
    grey = pictures.mean(axis=3, dtype=np.float32)
    rows = np.add.reduceat(grey, np.arange(8) * height // 8, axis=1)
    edges = np.arange(17) * width // 17
    cells = np.add.reduceat(rows, edges, axis=2) / np.diff(np.append(edges, width)).astype(np.float32)
    bits = (cells[:, :, :-1] > cells[:, :, 1:] + np.float32(height / 8)).reshape(n, 128)  # a step of tone, not noise
    words = np.packbits(bits, axis=1).view("<u8").astype(np.uint64)
    return words[:, 0], words[:, 1]


def decided(store: Store, job: Job) -> bool:
    """Whether every shard's part of the decision is there."""
    return len(store.names(f"{STATE}/keep")) >= job.shards and "kept" in read_notes(store)


def look_name(job: Job, k: int) -> str:
    """Where what was seen of shard k lies."""
    return f"{STATE}/looks/{job.name(k)}"


def decide(store: Store, job: Job) -> None:
    """Let each filter decide, and write what is kept of each shard and what the manifest says."""
    shards = Shards(store, job)
    notes = read_notes(store)
    for name in job.filters:
        before = shards.kept
        said = find(name).decide(shards)
        notes[name] = {"dropped": before - shards.kept, "of": before, **said}
    row = 0
    for k, mask in enumerate(shards.masks):
        write_keep(store, job, k, row, mask)
        row += int(mask.sum())
    write_notes(store, {**notes, "kept": row})
