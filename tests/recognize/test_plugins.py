"""Packages that bring architectures, formats, runtimes and evaluators by the entry points `gan_export.plugins`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import gan_export
from gan_export.errors import GanExportError
from gan_export.exporters import EXPORTERS
from gan_export.formats.bounds import FLOAT32
from gan_export.formats.registry import FORMATS
from gan_export.metrics import evaluators
from gan_export.runtimes import RUNTIMES
from tests.conftest import error_lines
from tests.recognize.test_adding import blocks

ROOT = Path(__file__).resolve().parents[2]


def with_metadata(folder: Path, package: str) -> dict[str, str]:
    """The environment that finds the package in `folder` installed, with its `register` as a plugin."""
    metadata = folder / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[gan_export.plugins]\n{package} = {package}:register\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}


def installed(folder: Path, body: str) -> dict[str, str]:
    """As `with_metadata`, of a package `towers` of that source."""
    (folder / "towers.py").write_text(body)
    return with_metadata(folder, "towers")


def run(command: str, *arguments: object, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    program = f"from gan_export.cli.{command} import main; main()"
    words = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


def inspect(file: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return run("export", "inspect", file, environment=environment)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    names: dict[str, object] = {}
    exec("import torch\nfrom torch import Tensor, nn\nfrom torch.nn import functional as F", names)
    exec("from tests.originals import Original", names)
    exec(blocks()[1], names)
    (original,) = names["ROWS"]  # type: ignore[misc]
    torch.save(original.model(original.width).state_dict(), tmp_path / "g.pth")
    return tmp_path / "g.pth"


@pytest.mark.long
def test_a_package_brings_an_architecture(tmp_path: Path, checkpoint: Path) -> None:
    body = f"{blocks()[0]}\ndef register():\n    import gan_export\n    gan_export.register_architecture(FAMILY)\n"
    done = inspect(checkpoint, installed(tmp_path, body))
    assert done.returncode == 0, done.stderr
    assert "tower" in done.stdout


def test_a_package_that_fails_is_named_in_a_line(tmp_path: Path, checkpoint: Path) -> None:
    done = inspect(checkpoint, installed(tmp_path, "def register():\n    raise ImportError('no such part')\n"))
    assert done.returncode == 2
    (line,) = error_lines(done.stderr)
    assert "the plugin towers of the package towers can't be loaded: no such part" in line
    assert "pip uninstall towers" in line
    assert done.stderr.endswith("  see gan-export help plugins\n")


@pytest.mark.long
def test_a_package_brings_a_format(tmp_path: Path, checkpoint: Path) -> None:
    """It is listed, written, verified in a fresh process, sampled, and its evaluator filters in worker processes."""
    shutil.copytree(ROOT / "tests" / "recognize" / "npz_package" / "gan_npz", tmp_path / "gan_npz")
    environment = with_metadata(tmp_path, "gan_npz")

    def done(command: str, *arguments: object) -> str:
        result = run(command, *arguments, environment=environment)
        assert result.returncode == 0, result
        return result.stdout

    assert "gan_npz" in done("export", "list")
    path, native = tmp_path / "g.npz", tmp_path / "g.gan"
    done("export", "npz", checkpoint, "-o", path)
    done("export", "native", checkpoint, "-o", native)
    assert "matches" in done("export", "verify", path)
    assert "matches" in done("export", "verify", path, checkpoint)
    images = []
    for generator in (path, native):
        done("sample", generator, "-n", "5", "--seed", "3", "-o", tmp_path / "x.npy")
        images.append(np.load(tmp_path / "x.npy").astype(int))
    assert np.abs(images[0] - images[1]).max() <= 1
    words = ("--format", "npy", "--filter", "confidence<0.5", "--classifier", "brightness")
    done("sample", "dataset", path, "-n", "5", "--seed", "3", *words, "-o", tmp_path / "d")
    note = json.loads((tmp_path / "d" / "MANIFEST.json").read_bytes())["notes"]
    assert any("0.5" in name for name in note)

    altered = bytearray(path.read_bytes())
    altered[200] ^= 1  # a weight
    path.write_bytes(altered)
    assert run("export", "verify", path, environment=environment).returncode == 1
    missing = run("export", "verify", path, environment={**os.environ, "PYTHONPATH": str(ROOT)})
    assert missing.returncode == 2
    assert "is not an export" in missing.stderr
    near = run("export", "nppz", checkpoint, environment=environment)
    assert near.returncode == 2
    assert "did you mean npz?" in near.stderr


def test_what_is_registered_must_be_new_and_fit() -> None:
    exporter, format, runtime = EXPORTERS.find("onnx"), FORMATS.find("onnx"), RUNTIMES.find("onnxruntime")
    with pytest.raises(GanExportError, match="a format called onnx is registered already"):
        gan_export.register_format(format, exporter)
    with pytest.raises(GanExportError, match="is written by onnx, not by pt2"):
        gan_export.register_format(format, EXPORTERS.find("pt2"))
    with pytest.raises(GanExportError, match="the format new has no tolerance for fp16, int8"):
        gan_export.register_format(replace(format, name="new", tolerances={"fp32": FLOAT32}), exporter)
    with pytest.raises(GanExportError, match="a runtime called onnxruntime is registered already"):
        gan_export.register_runtime(runtime)
    with pytest.raises(GanExportError, match="did you mean onnxruntime"):
        gan_export.register_runtime(replace(runtime, name="new"), before="onnxrntime")  # type: ignore[type-var]
    with pytest.raises(GanExportError, match="an evaluator called digits is registered already"):
        gan_export.register_evaluator("digits", lambda: evaluators.find("digits"))
