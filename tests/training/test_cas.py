"""train/experiments/cas.py, on the digits that ship, laid out as MNIST's own files."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from gan_export.training import data, recipe
from tests.training.common import ROOT, environment

GENERATOR = ROOT / "exported" / "mnist32-conditional" / "generator.onnx"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """9,000 training digits and 1,000 test digits as idx files."""
    folder = tmp_path_factory.mktemp("digits")
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    with resources.files("gan_export").joinpath("data", "mnist-10k.npz").open("rb") as f, np.load(f) as held:
        for name, rows in (("train", slice(0, 9000)), ("t10k", slice(9000, None))):
            for kind, array in (("images-idx3", held["images"][rows]), ("labels-idx1", held["labels"][rows])):
                header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
                (raw / f"{name}-{kind}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())
    return folder


def _cas(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "train" / "experiments" / "cas.py"), *map(str, words)],
        env=environment(), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.long
def test_a_few_digits_are_picked_and_learnt_from_with_and_without_generated_ones(root: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.npz"
    assert _cas("pick", root, few, "--each", 20).returncode == 0
    source = data.open_source(recipe.Data(source="npz", path=str(few)), None)
    assert source.labels is not None
    assert list(np.bincount(source.labels)) == [20] * 10
    result = _cas("few", few, GENERATOR, root, "--count", 2000, "--steps", 40, "--seeds", 1)
    assert result.returncode == 0, result.stderr
    figures = json.loads(result.stdout)
    assert figures["real"] == 200
    assert all(0.5 < figures[k][0] <= 1 for k in ("real_alone", "generated_alone", "both")), figures


@pytest.mark.long
def test_generated_digits_alone_teach_real_ones(root: Path) -> None:
    result = _cas("alone", GENERATOR, root, "--count", 6400, "--epochs", 1)
    assert result.returncode == 0, result.stderr
    figures = json.loads(result.stdout)
    assert figures["steps"] == 50
    assert figures["accuracy"] > 0.8
    refused = _cas("alone", root / "nothing.onnx", root)
    assert refused.returncode == 2
    assert "no such file" in refused.stderr
