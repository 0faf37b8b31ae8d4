"""Packages that bring architectures of their own by the entry-point group `gan_export.plugins`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.recognize.test_adding import blocks

ROOT = Path(__file__).resolve().parents[2]


def installed(folder: Path, body: str) -> dict[str, str]:
    """An installed package `towers` with a plugin of that source, and the environment that finds it."""
    (folder / "towers.py").write_text(body)
    metadata = folder / "towers-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: towers\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[gan_export.plugins]\ntowers = towers:register\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}


def inspect(file: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    program = "from gan_export.cli.export import main; main()"
    command = [sys.executable, "-c", program, "inspect", str(file)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    names: dict[str, object] = {}
    exec("import torch\nfrom torch import Tensor, nn\nfrom torch.nn import functional as F", names)
    exec("from tests.originals import Original", names)
    exec(blocks()[1], names)
    (original,) = names["ROWS"]  # type: ignore[misc]
    torch.save(original.model(original.width).state_dict(), tmp_path / "g.pth")
    return tmp_path / "g.pth"


def test_a_package_brings_an_architecture(tmp_path: Path, checkpoint: Path) -> None:
    body = f"{blocks()[0]}\ndef register():\n    import gan_export\n    gan_export.register_architecture(FAMILY)\n"
    done = inspect(checkpoint, installed(tmp_path, body))
    assert done.returncode == 0, done.stderr
    assert "tower" in done.stdout


def test_a_package_that_fails_is_named_in_a_line(tmp_path: Path, checkpoint: Path) -> None:
    done = inspect(checkpoint, installed(tmp_path, "def register():\n    raise ImportError('no such part')\n"))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "the plugin towers of the package towers can't be loaded: no such part" in line
    assert "pip uninstall towers" in line
