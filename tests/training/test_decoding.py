"""Pictures decoded by processes of their own: the same run, and nothing is left of them however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.training.common import PROGRAM, alive, children, environment, gan_train, tiny_recipe, train_here

SETTINGS = ["--set", "data.memory=0", "--set", "data.workers=2"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a process's children are looked up in Linux's /proc")


@contextmanager
def _training(run: Path, recipe: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A long run that has taken its first steps, and every process that decodes for it."""
    process = subprocess.Popen(
        [*PROGRAM, str(recipe), "-o", str(run), *SETTINGS, "--set", "train.epochs=2000",
         "--set", "output.preview_every=2000", "--set", "output.save_every=2000", *more],
        env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        until = time.monotonic() + 100
        while not list(run.glob("snapshots/*.pt")):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < until
            time.sleep(0.02)
        first = children(process.pid)
        yield process, first + [grandchild for child in first for grandchild in children(child)]
    finally:
        process.kill()
        assert process.stderr is not None
        process.stderr.close()  # not read to its end: what was left behind may hold it
        process.wait()


def _all_gone(pids: list[int]) -> None:
    until = time.monotonic() + 30
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_they_change_no_bit(tmp_path: Path, pictures: Path) -> None:
    recipe = tiny_recipe(tmp_path, pictures)
    train_here(recipe, tmp_path / "kept")
    train_here(recipe, tmp_path / "decoded", "data.memory=0", "data.workers=2")
    for name in ("generator_2.pth", "discriminator_2.pth"):
        assert (tmp_path / "kept" / name).read_bytes() == (tmp_path / "decoded" / name).read_bytes()


@pytest.mark.long
def test_ctrl_c_ends_them_without_a_word_of_theirs(tmp_path: Path, pictures: Path) -> None:
    with _training(tmp_path / "run", tiny_recipe(tmp_path, pictures)) as (process, decoding):
        assert len(decoding) == 2
        for pid in (process.pid, *decoding):  # as a terminal does it
            os.kill(pid, signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 130, told
        assert "gan-train resume" in told
        assert "Traceback" not in told
        _all_gone(decoding)


@pytest.mark.long
@pytest.mark.parametrize("devices", [1, 2])
def test_none_outlives_a_run_that_is_killed(devices: int, tmp_path: Path, pictures: Path) -> None:
    recipe = tiny_recipe(tmp_path, pictures)
    with _training(tmp_path / "run", recipe, "--devices", str(devices)) as (process, others):
        assert len(others) == 2 * devices + devices - 1
        process.kill()
        _all_gone(others)


@pytest.mark.long
def test_one_that_is_killed_is_replaced_and_no_bit_changes(tmp_path: Path, pictures: Path) -> None:
    recipe, run = tiny_recipe(tmp_path, pictures), tmp_path / "run"
    with _training(run, recipe) as (process, decoding):
        os.kill(decoding[0], signal.SIGKILL)
        _all_gone(decoding)  # the other one is ended too
        until = time.monotonic() + 60
        while not children(process.pid):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=60)[1]
        assert process.returncode == 130, told
    step = int(max(p.stem for p in (run / "snapshots").glob("*.pt")))
    epochs = step // 7 + 2
    assert gan_train("resume", run, "--set", f"train.epochs={epochs}").returncode == 0
    rare = ("output.preview_every=2000", "output.save_every=2000")
    train_here(recipe, tmp_path / "whole", f"train.epochs={epochs}", *rare)
    name = f"generator_{epochs}.pth"
    assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
