"""An installed wheel has what the commands look up by name: recipes, bench suites, page templates."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SUITES = sorted(file.stem for file in (ROOT / "gan_export" / "bench" / "suites").glob("*.toml"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel without the C engine, unpacked outside the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--config-settings=wheel.cmake=false")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", *options, "-w", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def _run(installed: Path, command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`gan-COMMAND` of the unpacked wheel, run in its folder's parent."""
    # -S leaves out the finder of an editable install, which would find the checkout
    path = [str(installed), *(p for p in sys.path if p.endswith("site-packages"))]
    start = f"import sys; sys.path += {path!r}; from gan_export.cli.{command} import main; main()"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-S", "-c", start, *map(str, arguments)],
        cwd=installed.parent, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_it_lists_its_recipes_and_says_where_their_records_are(installed: Path) -> None:
    done = _run(installed, "train", "list")
    assert done.returncode == 0, done.stderr
    for file in (ROOT / "gan_export" / "training" / "recipes").glob("*.toml"):
        assert f"{file.stem} " in done.stdout
    assert "none" not in done.stdout
    assert "records of their results: train/records in the source repository" in done.stdout.splitlines()


@pytest.mark.long
def test_it_trains_a_recipe_by_its_name(installed: Path) -> None:
    done = _run(installed, "train", "mnist32-demo", "-o", "run", "--set", "train.minutes=0.001")
    assert done.returncode == 0, done.stderr
    assert list((installed.parent / "run").glob("generator_*.pth"))


def test_it_explains_errors(installed: Path) -> None:
    done = _run(installed, "export", "help", "missing")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("If something is missing")
    assert {file.suffix for file in (installed / "gan_export" / "docs").rglob("*.*")} == {".md"}


def test_it_has_the_suites(installed: Path) -> None:
    """A suite is found if what is refused is the value given beside it."""
    done = _run(installed, "bench", "--suite", "none-like-this")
    assert f"there are {', '.join(SUITES)}" in done.stderr
    done = _run(installed, "bench", "--suite", "quick", "--rounds", 1)
    assert done.returncode == 2
    assert "rounds 1: must be 2 to 10000" in done.stderr
