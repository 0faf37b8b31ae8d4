"""Check that a dataset matches its manifest, and its images those of its generator."""

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
from gan_export.errors import CheckFailedError, GanExportError, Topic, first_line, linked, printable
from gan_export.formats.bounds import WORST_IMAGE
from gan_export.sampling import generator as generators

_SHARDS = 8  # the maximum number of shards that are read for images to generate again
_SHARE = 0.01  # of an image's bytes may be off by one step: another processor adds in another order


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a check.

    faults: a text for each fault.  drawn: images that were generated again and compared.  warnings: of the generator.
    """

    manifest: Manifest
    pictures: int
    bytes: int
    faults: tuple[str, ...]
    drawn: int
    warnings: tuple[str, ...] = ()


@linked(Topic.DATASET_CHECK)
def check(
    target: str,
    generator: Path | None,
    *,
    runtime: str | None = None,
    device: str = "cpu",
    pictures: int = 64,
    strict: bool = False,
) -> Verdict:
    """Hash all files and, with `generator`, generate `pictures` randomly chosen images again.

    strict: see `open_generator`.  Raises GanExportError if `target` is not a dataset or has another generator,
    CheckFailedError for an unfinished run.
    """
    store = open_store(target, writing=False)
    found = manifest.read(store)
    if found is None:
        job = manifest.job_under_way(store)
        if job is None:
            raise GanExportError(
                f"{store.shown} contains no {MANIFEST}: it is not a dataset of gan-sample, or not finished"
            )
        done = len(manifest.finished(store, range(job.shards)))
        raise CheckFailedError(
            f"{store.shown} is not finished: {done:,} of {job.shards:,} shards; run the command that started it again"
        )
    if generator is not None and sha256(generator) != found.job.sha256:
        raise GanExportError(
            f"{printable(str(generator))} is not the generator of this dataset "
            f"({found.job.generator}, sha256 {found.job.sha256[:12]}…)"
        )
    checked = faults(store, found.records)
    wrong = [fault for _, fault in checked if fault] + _wholes(store, found)
    drawn, warnings = 0, tuple[str, ...]()
    if generator is not None:
        overrides = dict(found.job.overrides)
        source = GeneratorSource(generator, runtime or found.job.runtime, device, overrides=overrides, strict=strict)
        sound = [r for r, fault in checked if not fault and r.kept]
        with source.open(found.job.latent_scale) as opened:
            warnings = opened.warnings
            if opened.signature != found.job.signature:
                raise GanExportError(
                    f"{printable(generator.name)} is read differently from when it generated this dataset"
                )
            drawn, different = _redraw(store, found.job, sound, opened, pictures)
        wrong += different
    kept, size = total(found.records)
    return Verdict(found, kept, size, tuple(wrong), drawn, warnings)


def _wholes(store: Store, found: Manifest) -> list[str]:
    """Return the faults of the files that shards share: their headers, which belong to no shard, and their sizes."""
    wrong = []
    for whole in formats.find(found.job.format).wholes(found.job, total(found.records)[0]):
        there = store.head(whole.name, len(whole.header))  # a missing file is reported with each shard
        if there is not None and there != (whole.header, whole.size):
            wrong.append(f"{whole.name} has another header or size than it was written with")
    return wrong


def _redraw(
    store: Store,
    job: DatasetPlan,
    sound: list[ShardRecord],
    generator: generators.Generator,
    pictures: int,
) -> tuple[int, list[str]]:
    """Return how many images were generated again, and a text for each that differs."""
    format = formats.find(job.format)
    chance = random.Random()
    chosen = chance.sample(sound, min(_SHARDS, len(sound), pictures))
    drawn, wrong = 0, []
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
            except Exception as e:  # each library raises its own errors, also for files whose hashes match
                wrong.append(f"shard {record.index} can't be read as {job.format}: {first_line(e, 100)}")
    return drawn, wrong


def _compare(
    generator: generators.Generator,
    job: DatasetPlan,
    record: ShardRecord,
    got: tuple[int, generators.Bytes, int | None],
) -> list[str]:
    """Return what is wrong with an image.

    It is generated in the same batch as before, because sums depend on the batch.
    """
    index, picture, label = got
    if not record.start <= index < record.start + record.count:
        return [f"image {index} is not in shard {record.index}"]
    batch = batch_size(job)
    first = record.start + (index - record.start) // batch * batch
    n = min(batch, record.start + record.count - first)
    labels = generators.choose_labels(job.signature, job.label, job.seed, range(first, first + n))  # type: ignore[arg-type]
    wanted = generator.sample(n, seed=job.seed, start=first, labels=labels)[index - first]
    if label is not None and labels is not None and label != labels[index - first]:
        return [f"image {index} has label {label}, not {labels[index - first]}"]
    same = _near(picture, wanted) if job.arithmetic == "int16" else _same(picture, wanted)
    return [] if same else [f"image {index} differs from the generator's"]


def _near(got: generators.Bytes, wanted: generators.Bytes) -> bool:
    """Return whether two images of 16-bit arithmetic, perhaps of different processors, are as close as it must be."""
    if got.shape != wanted.shape:
        return False
    square = float(np.mean((got.astype(np.float64) - wanted) ** 2))
    return bool(square <= 255.0**2 / 10.0 ** (WORST_IMAGE / 10.0))


def _same(got: generators.Bytes, wanted: generators.Bytes) -> bool:
    if got.shape != wanted.shape:
        return False
    step = np.abs(got.astype(np.int16) - wanted.astype(np.int16))
    return int(step.max()) <= 1 and int((step > 0).sum()) <= max(1, round(step.size * _SHARE))
