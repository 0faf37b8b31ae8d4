"""Every architecture in every format: a file as its scripts leave it, exported, run, held to the original module.

Generated from the registries: a new line in ORIGINALS, EXPORTERS or RUNTIMES is tested at once.  By default each
original meets one form, and each form (a format in one precision) every batch; `make test-long` runs more of the
matrix.  int8 is calibrated anew for each original, so fewer meet it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_export import checkpoint, runtimes
from gan_export.exporters import EXPORTERS
from gan_export.exporters.base import Exporter, Options
from gan_export.formats import manifest as manifests
from gan_export.pipeline import table
from gan_export.recognize import ARCHS, recognize
from gan_export.runtimes.base import run_latents
from tests.originals import APART, ORIGINALS, Original
from tests.originals.images_in import IMAGE_ORIGINALS
from tests.originals.style import STYLE_FAMILIES

BATCHES = (1, 3, 64)
LINES = {line.exporter.name: line for line in table.lines()}
LARGEST = 1e-4  # error of a float32 export beside the original's own, of the original's largest value over 1
# root of it: 45, 35 and 28 dB of a range of 2
MEAN_SQUARE = {"fp16": 2 * 10 ** (-45 / 20), "bf16": 2 * 10 ** (-35 / 20), "int8": 2 * 10 ** (-28 / 20)}


@dataclass(frozen=True, slots=True)
class Form:
    """A format in one of its precisions."""

    exporter: Exporter
    precision: str

    @property
    def name(self) -> str:
        return f"{self.exporter.name}-{self.precision}"


FORMS = tuple(Form(e, p) for e in EXPORTERS if e.core for p in e.precisions if p != "int8")
FEW = [
    (o, FORMS[i % len(FORMS)], BATCHES[(i // len(FORMS)) % len(BATCHES)])
    for i, o in enumerate(sorted(ORIGINALS, key=lambda o: o.image))
]
FORMS_INT8 = tuple(Form(e, "int8") for e in EXPORTERS if e.core and "int8" in e.precisions)
FEW.append((ORIGINALS[0], FORMS_INT8[0], 3))


def family(original: Original) -> str:
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in original.build(original.width).state_dict().items()}
    return recognize(shapes, original.overrides).spec.arch


FAMILIES = {o.name: family(o) for o in ORIGINALS}
SMALLEST = {FAMILIES[o.name]: o for o in sorted(ORIGINALS, key=lambda o: o.image, reverse=True)}
# The smallest original of each family in every format, in the narrower precisions, which round the same graphs, each
# eighth; every fourth of the others in ONNX here, and each in one format in turn above.
EVERY: list[object] = [
    (o, form)
    for i, o in enumerate(ORIGINALS)
    for k, form in enumerate(FORMS)
    if (form.precision == "fp32" or (i + k) % 8 == 0)
    and (o is SMALLEST[FAMILIES[o.name]] or (form.name == "onnx-fp32" and i % 4 == 0))
]
EVERY += [(o, form) for i, o in enumerate(ORIGINALS) for k, form in enumerate(FORMS_INT8) if (i + k) % 24 == 0]


def hold(original: Original, form: Form, batches: tuple[int, ...], width: int, folder: Path) -> None:
    """Export the original in this form and compare what its runtime draws with what the original draws."""
    line = LINES[form.exporter.name]
    if not line.available:
        pytest.skip(line.reason)
    model = original.model(width)
    file = original.save(model, folder / f"model{original.suffix}")
    read = checkpoint.read(file, original.overrides)
    path = folder / f"model.exported{form.exporter.suffix}"
    manifest = form.exporter.write(read, path, Options(precision=form.precision))
    assert manifests.read_manifest(path, manifests.detect_format(path)) == manifest
    doubled = copy.deepcopy(model).double()
    session = runtimes.find(form.exporter.runtime).load(path)
    try:
        for batch in batches:
            z = original.latents(batch)
            labels = original.labels(batch).numpy().astype(np.int64) if original.classes else None
            got = run_latents(session, z.flatten(1).numpy(), labels)
            eager = original.draw(model, z).numpy()
            wanted = original.draw(doubled, z.double()).numpy()
            assert got.shape == wanted.shape
            assert wanted.std() > 0.02, "a picture that says nothing"
            largest = max(1.0, float(np.abs(wanted).max()))
            error = np.abs(got - wanted) / largest
            if form.precision == "fp32":
                rounding = float(np.abs(eager - wanted).max()) / largest  # of the original itself in float32
                assert error.max() <= LARGEST + rounding, batch
            else:
                assert np.sqrt(np.mean(error**2)) <= MEAN_SQUARE[form.precision], batch
    finally:
        session.close()


def identity(value: object) -> str:
    return getattr(value, "name", str(value))


@pytest.mark.parametrize(
    ("original", "form", "batch"),
    [pytest.param(*few, marks=pytest.mark.long if (i + i // len(FORMS)) % 2 else ()) for i, few in enumerate(FEW)],
    ids=identity,
)
def test_each_architecture_in_one_form(original: Original, form: Form, batch: int, tmp_path: Path) -> None:
    hold(original, form, (batch,), original.other_width, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(("original", "form"), EVERY, ids=identity)
def test_each_architecture_in_each_form(original: Original, form: Form, tmp_path: Path) -> None:
    hold(original, form, BATCHES, original.width, tmp_path)


def test_every_architecture_has_an_original() -> None:
    # those are in tests/recognize/test_images_in.py and test_style.py
    of_others = {*(original.arch for original in IMAGE_ORIGINALS), *STYLE_FAMILIES, *APART}
    assert set(FAMILIES.values()) | of_others >= {family.name for family in ARCHS if not family.generic}


def test_every_format_has_a_runtime_that_proves_it() -> None:
    for exporter in EXPORTERS:
        assert runtimes.find(exporter.runtime).name == exporter.runtime
