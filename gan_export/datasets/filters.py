"""Filters: which images of a plan a dataset keeps, decided over the whole run before anything is written.

Every shard is generated once to be classified: four bytes per image on disk.  Then the filter decides shard by shard,
and the shards are generated again without what it leaves out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan_export.datasets.filter_masks import Mask, write_keep
from gan_export.datasets.formats.base import ImageBatch
from gan_export.datasets.manifest import read_notes, write_notes
from gan_export.datasets.plan import DatasetPlan
from gan_export.datasets.store import STATE, Store
from gan_export.errors import GanExportError, Topic, linked, printable
from gan_export.metrics.evaluators import Classifies, Evaluator

DIGITS = "digits"  # the built-in classifier
Confidences = NDArray[np.float32]  # of a shard's images: the probability of the most probable class


class Shards:
    """The classified shards of a dataset, and the images of each that are kept so far."""

    def __init__(self, store: Store, job: DatasetPlan) -> None:
        self._store, self._job = store, job
        self.masks: list[Mask] = [np.ones(job.shard(k).count, np.bool_) for k in range(job.shards)]

    def looks(self) -> Iterator[tuple[Mask, Confidences]]:
        """Yield (mask, confidences) of each shard in order; the mask is that of `masks`."""
        for k, mask in enumerate(self.masks):
            data = self._store.read(look_name(self._job, k))
            if data is None or len(data) != 4 * len(mask):
                raise GanExportError(f"the statistics of shard {k} are missing; run the command again")
            yield mask, np.frombuffer(data, "<f4")

    @property
    def kept(self) -> int:
        return sum(int(m.sum()) for m in self.masks)


@dataclass(frozen=True, slots=True)
class Confidence:
    """A filter that drops the images for which a classifier's confidence is below `below`.

    classifier: the name of an evaluator, with the file's sha256 if it is an ONNX file
    """

    below: float
    classifier: str = DIGITS

    @staticmethod
    @linked(Topic.DATASET_FILTERS)
    def parse(text: str, classifier: str = DIGITS) -> Confidence:
        """Return the filter of "confidence<0.9".  Raise GanExportError for any other condition."""
        found = re.fullmatch(r"\s*confidence\s*<\s*((\d+\.?\d*|\.\d+)([eE][-+]?\d+)?)\s*", text, re.ASCII)
        if not found or not 0 < float(found[1]) <= 1:
            raise GanExportError(
                f"filter={printable(text)}: write it as 'confidence<0.9', with a number above 0 and at most 1"
            )
        return Confidence(float(found[1]), classifier)

    @property
    def name(self) -> str:
        """The filter as a job and a manifest store it; `find` parses it."""
        condition = f"confidence<{self.below!r}"
        return condition if self.classifier == DIGITS else f"{condition} by {self.classifier}"

    def decide(self, shards: Shards) -> None:
        """Clear the images that the filter drops in `shards.masks`."""
        for mask, confidences in shards.looks():
            mask[~(confidences >= self.below)] = False  # drops NaN too


def find(name: str) -> Confidence:
    """Return the filter of a name that `Confidence.name` returned."""
    condition, _, classifier = name.partition(" by ")
    return Confidence.parse(condition, classifier or DIGITS)


def look(part: ImageBatch, evaluator: Evaluator) -> Confidences:
    """Return the classifier's confidence for some images, (n,)."""
    assert isinstance(evaluator, Classifies)
    return np.asarray(evaluator.classify(part.pictures).max(1), "<f4")


def decided(store: Store, job: DatasetPlan) -> bool:
    """Return whether the decision is stored for every shard."""
    return len(store.names(f"{STATE}/keep")) >= job.shards and "kept" in read_notes(store)


def look_name(job: DatasetPlan, k: int) -> str:
    """Return the name of the file with the confidences of shard k."""
    return f"{STATE}/looks/{job.name(k)}"


def decide(store: Store, job: DatasetPlan) -> None:
    """Let each filter decide, and write the masks of all shards and the notes of the manifest."""
    shards = Shards(store, job)
    notes = read_notes(store)
    for name in job.filters:
        before = shards.kept
        condition = find(name)
        condition.decide(shards)
        notes[name] = {"dropped": before - shards.kept, "of": before, "classifier": condition.classifier}
    row = 0
    for k, mask in enumerate(shards.masks):
        write_keep(store, job, k, row, mask)
        row += int(mask.sum())
    write_notes(store, {**notes, "kept": row})
