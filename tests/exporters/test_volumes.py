"""Volumes and signals in the core formats and ncnn, proven."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gan_export
from gan_export import checkpoint, exporters
from gan_export.errors import GanExportError
from gan_export.exporters.base import Options
from gan_export.pipeline import publish
from tests.exporters.matrix import VOLUMES
from tests.originals.volumes import ROWS

BY_NAME = {o.name: o for o in ROWS}
OF_FAMILY = {"gan3d": "gan3d-projected", "wavegan": "wavegan"}
CASES = [(OF_FAMILY[family], format) for family, formats in VOLUMES.items() for format in formats]
CASES += [(name, format) for name in ("volume-trilinear", "wavegan-enlarged") for format in ("onnx", "ncnn")]


def exported(name: str, format: str, folder: Path, options: Options | None = None) -> publish.ExportResult:
    original = BY_NAME[name]
    file = original.save(original.model(), folder / "g.pth")
    exporter = exporters.find(format)
    return publish.export(checkpoint.read(file, original.overrides), exporter, folder / f"g{exporter.suffix}", options)


@pytest.mark.long
@pytest.mark.parametrize(("name", "format"), CASES)
def test_a_family_is_proven(name: str, format: str, tmp_path: Path) -> None:
    if (name, format) == ("volume-trilinear", "ncnn"):
        with pytest.raises(GanExportError, match=r"ncnn has no layer for \w+ \(UpsampleNd, linear, 3-D\)"):
            exported(name, format, tmp_path)
        return
    result = exported(name, format, tmp_path)
    assert result.report is not None
    assert result.report.passed
    port = result.manifest.signature.outputs[0]
    assert (port.shape, port.range) == (BY_NAME[name].image, BY_NAME[name].range)


@pytest.mark.long
@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("name", ["volume-enlarged", "signal-enlarged"])
def test_narrow_weights_are_proven(name: str, precision: str, tmp_path: Path) -> None:
    result = exported(name, "onnx", tmp_path, Options(precision=precision))
    assert result.report is not None
    assert result.report.passed


@pytest.mark.parametrize("name", ["volume-flat", "signal-flat"])
def test_a_sampler_draws_the_same_bytes(name: str, tmp_path: Path) -> None:
    result = exported(name, "onnx", tmp_path, Options(sampler=True))
    with gan_export.open(result.path) as sampler, gan_export.open(tmp_path / "g.pth") as g:
        got, wanted = sampler.sample(3, seed=7), g.sample(3, seed=7)
    assert got.shape == wanted.shape
    assert np.abs(got.astype(int) - wanted).max() <= 1
    assert (got != wanted).mean() < 1e-3
