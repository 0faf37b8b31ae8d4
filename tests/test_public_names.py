"""What shows how to use the library imports its public names alone: the notebook, embed/, train/, the documentation."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gan_export
import gan_export.plugin
from tests.conftest import ROOT

PAGES = ("README.md", *(page.relative_to(ROOT).as_posix() for page in sorted((ROOT / "docs").rglob("*.md"))))
PROGRAMS = ("embed/**/*.py", "train/**/*.py", "docs/start/*.py")


def private(source: str) -> list[str]:
    """The names of gan_export that a program uses and that are in no `__all__`."""
    public = {"gan_export": gan_export.__all__, "gan_export.plugin": gan_export.plugin.__all__}
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.startswith("gan_export.")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "gan_export":
            names = [a.name for a in node.names if a.name not in public.get(node.module or "", ())]
            found += [f"{node.module}.{name}" for name in names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "gan_export":
            found += [f"gan_export.{node.attr}"] * (node.attr not in gan_export.__all__)
    return found


def sources() -> Iterator[tuple[str, str]]:
    for pattern in PROGRAMS:
        for path in sorted(ROOT.glob(pattern)):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        if blocks := re.findall(r"^```python[^\n]*\n(.*?)^```", text, re.M | re.S):
            yield page, "\n".join(blocks)
    notebook = json.loads((ROOT / "docs" / "train-and-export.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    yield "docs/train-and-export.ipynb", "\n".join(cells)


@pytest.mark.parametrize(("name", "source"), [pytest.param(n, s, id=n) for n, s in sources()])
def test_it_uses_public_names_alone(name: str, source: str) -> None:
    assert not private(source), name


def test_other_names_are_seen() -> None:
    program = (
        "import gan_export.latents\nfrom gan_export import images, load\nfrom gan_export.errors import first_line\n"
    )
    assert private(program) == ["gan_export.latents", "gan_export.images", "gan_export.errors.first_line"]
    assert private("import gan_export\ngan_export.api.load('x')\ngan_export.load('x')") == ["gan_export.api"]


USER = """
import numpy as np
import gan_export
from gan_export import Checkpoint, ExportResult, Generator, ParityError

checkpoint: Checkpoint = gan_export.load("g.pth", slope=0.1, key="GAN.G")
try:
    made: ExportResult = gan_export.export(checkpoint, "onnx", "g.onnx", precision="fp16")
except ParityError as error:
    print(error.report.passed)
print(gan_export.verify("g.onnx", checkpoint).passed, gan_export.train("r", "run", settings={"train.epochs": 1}).step)
with gan_export.open("g.onnx", device="cpu") as generator:
    opened: Generator = generator
    brightness = float(opened.sample(64, seed=7, labels="all").mean())
    floats = opened.generate(np.zeros((2, 100), np.float32))
    reveal_type(floats)
print(gan_export.evaluate("g.onnx").sure_share)
"""


def mypy(file: Path, where: Path) -> subprocess.CompletedProcess[str]:
    """mypy --strict of one file, from a folder without the repository's settings."""
    options = ["--strict", "--config-file", "", "--cache-dir", str(where / "cache"), "--follow-imports", "silent"]
    return subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(file)], cwd=where, capture_output=True, text=True, check=False
    )


@pytest.mark.long
def test_a_user_s_program_passes_mypy_strict(tmp_path: Path) -> None:
    """As installed: the package is found by its py.typed, not by this repository's settings."""
    (tmp_path / "user.py").write_text(USER)
    done = mypy(tmp_path / "user.py", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "numpy.floating" in done.stdout or "float32" in done.stdout, "it is typed, and not Any"
    (tmp_path / "wrong.py").write_text(
        "import gan_export\n\ngan_export.load('g.pth', slop=0.1)\ngan_export.nothing()\n"
    )
    done = mypy(tmp_path / "wrong.py", tmp_path)
    assert done.stdout.count("error:") == 2, done.stdout
