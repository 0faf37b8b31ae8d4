"""Every row's file, saved as its own scripts save it, gives back the pictures of the model it was saved from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gan_export.checkpoint import read
from gan_export.graph.lower import lower
from gan_export.graph.torch_module import build_module
from tests.originals import ORIGINALS, Original


@pytest.mark.parametrize("original", ORIGINALS, ids=[o.name for o in ORIGINALS])
def test_the_module_saved_whole_draws_what_it_drew(original: Original, tmp_path: Path) -> None:
    model = original.model(original.other_width, seed=2)
    torch.save(model, tmp_path / "netG.pth")
    checkpoint = read(tmp_path / "netG.pth", original.overrides)
    z, label = original.latents(2), original.labels(2)
    want = original.draw(model, z)
    ours = build_module(checkpoint.spec, checkpoint.weights)
    with torch.no_grad():
        got = ours(z, label) if original.classes else ours(z)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5 * max(1.0, float(want.abs().max())))


@pytest.mark.parametrize("original", ORIGINALS, ids=[o.name for o in ORIGINALS])
def test_the_file_draws_what_the_model_drew(original: Original, tmp_path: Path) -> None:
    model = original.model(original.other_width, seed=2)
    path = original.save(model, tmp_path / f"generator{original.suffix}")
    checkpoint = read(path, original.overrides)
    z, label = original.latents(2), original.labels(2)
    want = original.draw(model, z)
    lowered = lower(checkpoint.spec, checkpoint.weights)
    # Folding rounds anew, and residual blocks of random weights add what that costs from block to block.
    for (spec, weights), bound in (((checkpoint.spec, checkpoint.weights), 1e-5), (lowered, 1e-4)):
        ours = build_module(spec, weights)
        with torch.no_grad():
            got = ours(z, label) if original.classes else ours(z)
        torch.testing.assert_close(got, want, rtol=0, atol=bound * max(1.0, float(want.abs().max())))
