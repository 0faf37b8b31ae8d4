"""Is a dataset what its manifest says, and are its pictures those of its generator?"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gan_export.datasets import formats, manifest
from gan_export.datasets.generator_files import sha256
from gan_export.datasets.manifest import Manifest
from gan_export.datasets.plan import DatasetPlan
from gan_export.datasets.records import ShardRecord, total
from gan_export.datasets.resume import faults
from gan_export.datasets.storage import open_store
from gan_export.datasets.store import MANIFEST, Store
from gan_export.datasets.writer import GeneratorSource, batch_size
from gan_export.errors import CheckFailedError, GanExportError, first_line, printable
from gan_export.sampling import generator as generators

_SHARDS = 8  # at most so many are read for pictures to draw again
_SHARE = 0.01  # of a picture's bytes may be off by one step: another processor adds in another order


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found.  faults: each damage in words; drawn: how many pictures were drawn again and compared."""

    manifest: Manifest
    pictures: int
    bytes: int
    faults: tuple[str, ...]
    drawn: int


def check(
    target: str, generator: Path | None, *, runtime: str | None = None, device: str = "cpu", pictures: int = 64
) -> Verdict:
    """Hash everything; draw `pictures` of them, chosen by chance, again where `generator` is given.

    Raises GanExportError for what is no dataset or another generator, CheckFailedError for an unfinished run.
    """
    store = open_store(target, writing=False)
    found = manifest.read(store)
    if found is None:
        job = manifest.job_under_way(store)
        if job is None:
            raise GanExportError(f"{store.shown} holds no {MANIFEST}: no dataset of gan-sample, or not a finished one")
        done = len(manifest.finished(store, range(job.shards)))
        raise CheckFailedError(
            f"{store.shown} is not finished: {done:,} of {job.shards:,} shards; run the command that began it again"
        )
    if generator is not None and sha256(generator) != found.job.sha256:
        raise GanExportError(
            f"{printable(str(generator))} is another generator than the one that drew this "
            f"({found.job.generator}, sha256 {found.job.sha256[:12]}…)"
        )
    checked = faults(store, found.records)
    wrong = [fault for _, fault in checked if fault] + _wholes(store, found)
    drawn = 0
    if generator is not None:
        source = GeneratorSource(generator, runtime or found.job.runtime, device, overrides=dict(found.job.overrides))
        sound = [r for r, fault in checked if not fault and r.kept]
        drawn, different = _redraw(store, found.job, sound, source, pictures)
        wrong += different
    kept, size = total(found.records)
    return Verdict(found, kept, size, tuple(wrong), drawn)


def _wholes(store: Store, found: Manifest) -> list[str]:
    """Files that shards share: their headers, which belong to no shard, and their sizes."""
    wrong = []
    for whole in formats.find(found.job.format).wholes(found.job, total(found.records)[0]):
        there = store.head(whole.name, len(whole.header))  # one that is missing is said of each shard
        if there is not None and there != (whole.header, whole.size):
            wrong.append(f"{whole.name} has another header or size than it was written with")
    return wrong


def _redraw(
    store: Store, job: DatasetPlan, sound: list[ShardRecord], source: GeneratorSource, pictures: int
) -> tuple[int, list[str]]:
    """How many were drawn again, and which of them differ, in words."""
    format = formats.find(job.format)
    chance = random.Random()
    chosen = chance.sample(sound, min(_SHARDS, len(sound), pictures))
    drawn, wrong = 0, []
    with source.open(job.psi) as generator:
        if generator.facts != job.facts:
            raise GanExportError(f"{printable(source.path.name)} isn't read as it was when it drew this dataset")
        for record in sorted(chosen, key=lambda r: r.index):
            share = -(-pictures // len(chosen))
            rows = set(chance.sample(range(record.kept), min(share, record.kept)))
            with store.local(record.pieces) as folder:
                try:
                    for row, got in enumerate(format.read(folder, job, record)):
                        if row in rows:
                            drawn += 1
                            wrong += _compare(generator, job, record, got)
                except GanExportError:
                    raise
                except Exception as e:  # each format's library has its own; the hashes are a stranger's, too
                    wrong.append(f"shard {record.index} can't be read as {job.format}: {first_line(e, 100)}")
    return drawn, wrong


def _compare(
    generator: generators.Generator,
    job: DatasetPlan,
    record: ShardRecord,
    got: tuple[int, generators.Bytes, int | None],
) -> list[str]:
    """What is wrong with a picture; it is drawn among those that it was drawn with, since sums depend on them."""
    index, picture, label = got
    if not record.start <= index < record.start + record.count:
        return [f"picture {index} is none of shard {record.index}"]
    batch = batch_size(job)
    first = record.start + (index - record.start) // batch * batch
    n = min(batch, record.start + record.count - first)
    labels = generators.choose_labels(job.facts, job.label, job.seed, first, n)  # type: ignore[arg-type]
    wanted = generator.draw_labelled(job.seed, first, n, labels)[index - first]
    if label is not None and labels is not None and label != labels[index - first]:
        return [f"picture {index} bears label {label}, not {labels[index - first]}"]
    return [] if _same(picture, wanted) else [f"picture {index} is not what the generator draws"]


def _same(got: generators.Bytes, wanted: generators.Bytes) -> bool:
    if got.shape != wanted.shape:
        return False
    step = np.abs(got.astype(np.int16) - wanted.astype(np.int16))
    return int(step.max()) <= 1 and int((step > 0).sum()) <= max(1, round(step.size * _SHARE))
