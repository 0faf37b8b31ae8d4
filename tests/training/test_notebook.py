"""The notebook runs from its first cell to its last, as a kernel would run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.common import ROOT, environment

NOTEBOOK = ROOT / "docs" / "train-and-export.ipynb"


def test_it_is_kept_without_outputs() -> None:
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert book["nbformat"] == 4
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


@pytest.mark.long
def test_it_goes_from_pictures_to_an_export(tmp_path: Path) -> None:
    """The cells one after another in one namespace, in a process of their own."""
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = ["".join(c["source"]) for c in book["cells"] if c["cell_type"] == "code"]
    script = tmp_path / "cells.py"
    script.write_text("\n\n".join(cells) + "\nprint([f[1] for f in figures])\n", encoding="utf-8")
    result = subprocess.run(
        [sys.executable, str(script)], env={**environment(), "NOTEBOOK_OUT": str(tmp_path / "out")},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    distances = json.loads(result.stdout.splitlines()[-1])
    assert len(distances) == 2
    assert distances[-1] < distances[0]
    assert (tmp_path / "out" / "generator.onnx").is_file()
    assert (tmp_path / "out" / "grid.png").is_file()
