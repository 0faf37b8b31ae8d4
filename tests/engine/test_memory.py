"""What the engine takes of a machine, measured on a C program that does nothing but draw."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gan_export.bench.models import find, write_checkpoint
from gan_export.checkpoint import read
from gan_export.exporters.native import NATIVE
from gan_export.pipeline import publish

from .test_suites import built, need, run


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("cmake", "cc")
    settings = ("-DCMAKE_BUILD_TYPE=Release",)
    return built(tmp_path_factory.mktemp("built"), *settings, targets=("cold_start",)) / "cold_start"


@pytest.mark.long
@pytest.mark.parametrize("name", ["classic", "dcgan64"])
def test_it_keeps_within_its_bounds(name: str, program: Path, tmp_path: Path) -> None:
    write_checkpoint(find(name), tmp_path / "g.pth")
    publish.export(read(tmp_path / "g.pth"), NATIVE, tmp_path / "g.gan")
    for batch, times, more in (("1", 2, 16), ("512", 8, 64)):
        lines = run(program, tmp_path / "g.gan", batch, "2").splitlines()
        measured = {words[0]: float(words[1]) for words in map(str.split, lines)}
        assert measured["peak"] <= times * measured["weights"] + more, measured
        assert measured["peak"] <= measured["weights"] + measured["transformed"] + measured["scratch"] + 16, measured


@pytest.mark.long
def test_it_says_what_it_can_not_open(program: Path, tmp_path: Path) -> None:
    for words in ([], [tmp_path / "none.gan"], [Path(__file__)], [Path(__file__), "0"]):
        done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done
