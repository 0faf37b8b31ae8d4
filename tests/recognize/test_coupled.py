"""A generator of two images: both are named outputs, of the spec and of an export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import gan_export
from gan_export.graph.torch_module import build_module
from tests.originals.common import randomized
from tests.originals.coupled import Coupled

WIDTHS = (64, 10)


@pytest.mark.parametrize("width", WIDTHS)
def test_both_images_are_the_originals(width: int, tmp_path: Path) -> None:
    model = randomized(Coupled(width))
    torch.save(model.state_dict(), tmp_path / "cogan.pth")
    checkpoint = gan_export.load(tmp_path / "cogan.pth")
    assert checkpoint.spec.arch == "cogan"
    assert [p.name for p in checkpoint.spec.signature.outputs] == ["image", "image_2"]
    z = torch.randn(3, 100)
    with torch.no_grad():
        for got, want in zip(build_module(checkpoint.spec, checkpoint.weights)(z), model(z), strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=1e-5)
    assert {a.option for a in checkpoint.reading.assumed} == {
        "upsample=", "bn_eps=", "slope=", "output=", "prior=",
    }  # fmt: skip


def test_an_export_has_both(tmp_path: Path) -> None:
    torch.save(randomized(Coupled(10, channels=1, size=16)).state_dict(), tmp_path / "cogan.pth")
    result = gan_export.export(tmp_path / "cogan.pth", "onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(result.path), providers=["CPUExecutionProvider"])
    assert [o.name for o in session.get_outputs()] == ["image", "image_2"]
    made = session.run(None, {"z": np.zeros((2, 100), np.float32)})
    assert [m.shape for m in made] == [(2, 1, 16, 16)] * 2
