"""BatchNorm's stored statistics against those that latents give."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gan_export import checkpoint, exporters, latents
from gan_export.errors import GanExportError
from gan_export.exporters.base import Options
from gan_export.graph import statistics
from gan_export.graph.torch_module import build_module
from gan_export.pipeline import publish
from gan_export.verification import batchnorm


def saved(model: nn.Module, path: Path) -> checkpoint.Checkpoint:
    torch.save(model.state_dict(), path)
    return checkpoint.read(path)


def test_statistics_that_fit_are_not_complained_of(classic_pth: Path) -> None:
    norms = batchnorm.check(checkpoint.read(classic_pth))
    assert [norm.layer for norm in norms] == ["bn0", "bn1", "bn2"]
    assert all(norm.fits for norm in norms)
    assert batchnorm.warning(norms) is None


def test_statistics_that_do_not_fit_are_told_and_mended(classic: nn.Module, tmp_path: Path) -> None:
    model = copy.deepcopy(classic)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    read = saved(model, tmp_path / "g.pth")
    line = batchnorm.warning(batchnorm.check(read))
    assert line is not None
    assert "recalibrate=" in line
    assert "slope=" in (batchnorm.warning(batchnorm.check(read), ("slope=",)) or "")
    mended = batchnorm.recalibrated(read, 512)
    assert batchnorm.warning(batchnorm.check(mended)) is None
    # what train mode draws from one large batch is what the mended one draws in evaluation mode
    z = torch.from_numpy(latents.draw(statistics.SEED, 0, 512, 100))
    with torch.no_grad():
        train_mode = model.train()(z[:, :, None, None])
    assert (build_module(mended.spec, mended.weights)(z) - train_mode).abs().max() < 1e-3


@pytest.mark.long
def test_recalibration_is_deterministic_and_goes_into_the_manifest(classic_pth: Path, tmp_path: Path) -> None:
    read = checkpoint.read(classic_pth)
    first, second = (batchnorm.recalibrated(read, 100).weights for _ in range(2))
    assert all(np.array_equal(first[k], second[k]) for k in first)
    shipped = publish.export(read, exporters.find("torchscript"), tmp_path / "g.pt", Options(recalibrate=100))
    assert shipped.manifest.options == {"recalibrate": 100}
    assert publish.verify(tmp_path / "g.pt", read).passed


@pytest.mark.parametrize(
    "value", [-1.0, *(pytest.param(float(name), marks=pytest.mark.long) for name in ("nan", "inf"))]
)
def test_unusable_statistics_are_refused_with_the_flag(classic: nn.Module, tmp_path: Path, value: float) -> None:
    model = copy.deepcopy(classic)
    model.model[4].running_var[3] = value
    read = saved(model, tmp_path / "g.pth")
    with pytest.raises(GanExportError, match="recalibrate="):
        publish.export(read, exporters.find("torchscript"), tmp_path / "g.pt")
    assert publish.export(read, exporters.find("torchscript"), tmp_path / "g.pt", Options(recalibrate=64)).report.passed
