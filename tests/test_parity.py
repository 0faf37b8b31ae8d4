"""Every architecture in every format: a file as its scripts leave it, exported, run, held to the original module.

Generated from the registries: a new line in ORIGINALS, EXPORTERS or RUNTIMES is tested at once.  By default each
original meets one format and one batch, in turn; `make test-long` runs the whole matrix.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gan_export import artifact, checkpoint, runtimes
from gan_export.arch import ARCHS
from gan_export.export import EXPORTERS
from gan_export.export.base import Exporter, Options
from tests.originals import ORIGINALS, Original

BATCHES = (1, 3, 64)
EVERY = [(o, e, b) for o in ORIGINALS for e in EXPORTERS for b in BATCHES]
FEW = [
    (o, EXPORTERS[i % len(EXPORTERS)], BATCHES[(i // len(EXPORTERS)) % len(BATCHES)])
    for i, o in enumerate(sorted(ORIGINALS, key=lambda o: o.image))
]
BOUND = 1e-4


def drawn(original: Original, exporter: Exporter, batch: int, width: int, folder: Path) -> float:
    """Largest difference of the export's pictures from the original's, in units of its largest value over 1."""
    model = original.model(width)
    file = original.save(model, folder / f"model{original.suffix}")
    read = checkpoint.read(file, original.overrides)
    path = folder / f"model.exported{exporter.suffix}"
    if not exporter.suffix.startswith("."):
        path.mkdir()  # a format that is a folder
    manifest = exporter.write(read, path, Options())
    assert artifact.read_manifest(path, artifact.sniff(path)) == manifest
    z = original.latents(batch)
    labels = original.labels(batch).numpy().astype(np.int64) if original.classes else None
    session = runtimes.find(exporter.runtime).load(path)
    try:
        got = session.generate(z.flatten(1).numpy(), labels)
    finally:
        session.close()
    wanted = original.draw(model, z).numpy()
    assert got.shape == wanted.shape
    assert wanted.std() > 0.02, "a picture that says nothing"
    return float(np.abs(got - wanted).max() / max(1.0, float(np.abs(wanted).max())))


def identity(value: object) -> str:
    return getattr(value, "name", str(value))


@pytest.mark.parametrize(("original", "exporter", "batch"), FEW, ids=identity)
def test_each_architecture_in_one_format(original: Original, exporter: Exporter, batch: int, tmp_path: Path) -> None:
    found = runtimes.find(exporter.runtime).availability()
    if not found.ok:
        pytest.skip(found.reason)
    assert drawn(original, exporter, batch, original.other_width, tmp_path) <= BOUND


@pytest.mark.long
@pytest.mark.parametrize(("original", "exporter", "batch"), EVERY, ids=identity)
def test_each_architecture_in_each_format(original: Original, exporter: Exporter, batch: int, tmp_path: Path) -> None:
    found = runtimes.find(exporter.runtime).availability()
    if not found.ok:
        pytest.skip(found.reason)
    assert drawn(original, exporter, batch, original.width, tmp_path) <= BOUND


def test_every_architecture_has_an_original() -> None:
    met = set()
    for original in ORIGINALS:
        with torch.device("meta"):
            shapes = {k: tuple(v.shape) for k, v in original.build(original.width).state_dict().items()}
        from gan_export.arch import recognise

        met.add(recognise(shapes, original.overrides).spec.arch)
    assert met >= {family.name for family in ARCHS} - {"chain"}


def test_every_format_has_a_runtime_that_proves_it() -> None:
    for exporter in EXPORTERS:
        assert runtimes.find(exporter.runtime).name == exporter.runtime
