"""LiteRT and ExecuTorch run in an environment of their own: their converters hold torch to versions that ours is past.

The environment lies under build/ and is made once, by uv, of what pyproject.toml names.  The tests that run in it are
those of test_second_tier.py.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

FORMATS = ("litert", "executorch")
pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def python() -> Path:
    """The environment's Python.  Skips if uv or a package can't be had."""
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if uv is None:
        pytest.skip("uv is not installed")
    folder = ROOT / "build" / "own-environment"
    interpreter, stamp = folder / "bin" / "python", folder / "installed"
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != wanted:
        extras = [word for name in FORMATS for word in ("--extra", name)]
        for step in (
            ["venv", "--clear", "--python", sys.executable, str(folder)],
            ["pip", "install", "--python", str(interpreter), "-r", str(ROOT / "pyproject.toml"), *extras],
            ["pip", "install", "--python", str(interpreter), "pytest", "pytest-timeout"],
        ):
            done = subprocess.run([uv, *step], capture_output=True, text=True, timeout=1500, check=False)
            if done.returncode:
                pytest.skip(f"{' '.join(FORMATS)} can't be installed: {done.stderr.strip()[-300:]}")
        stamp.write_text(wanted)
    return interpreter


@pytest.mark.parametrize("name", FORMATS)
def test_the_format_is_written_proven_and_run(python: Path, name: str) -> None:
    tests = [
        "tests/exporters/test_second_tier.py",
        "-m",
        "long",
        "-k",
        f"[{name}]",
        "-p",
        "no:cacheprovider",
        "-rs",
        "--timeout",
        "1100",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    for inherited in [key for key in environment if key.startswith("PYTEST_")]:
        del environment[inherited]
    done = subprocess.run(
        [str(python), "-m", "pytest", *tests],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^2 passed", done.stdout, re.MULTILINE), done.stdout
