"""Each restated generator by the C engine: what the checkpoint's own module gives, in another width than its own."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

import gan_export
from gan_export import checkpoint, exporters
from gan_export.exporters.base import Options, write
from tests.exporters.matrix import EXPORTED
from tests.originals import ORIGINALS, Original

QUICK = [o for o in ORIGINALS if o.name != "ray"]  # its file is large, and its layers are those of others


@pytest.mark.long
@pytest.mark.parametrize("original", QUICK, ids=lambda o: o.name)
def test_the_engine_generates_its_images(original: Original, tmp_path: Path) -> None:
    model = original.model(original.other_width)
    read = checkpoint.read(original.save(model, tmp_path / f"model{original.suffix}"), original.overrides)
    assert "native" in EXPORTED[read.arch]
    write(exporters.find("native"), read, tmp_path / "g.gan", Options())
    z, labels = original.latents(3), original.labels(3)
    want = original.draw(copy.deepcopy(model).double(), z.double()).detach().numpy()
    with gan_export.open(tmp_path / "g.gan", threads=1) as generator:
        got = generator.generate(z.flatten(1).numpy(), labels.numpy() if original.classes else None)
    # an export takes smaller transforms, which round less, if it doesn't reach 2e-5 with these
    assert np.abs(got - want).max() <= 5e-5 * max(1.0, np.abs(want).max())
