"""gan-train resume: to the bit after any end, elsewhere with a warning, and never over another's work."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from gan_export.training.events import Began, Ended
from tests.conftest import interruptible
from tests.training.common import (
    PROGRAM,
    environment,
    gan_train,
    refused,
    resume_here,
    same,
    tiny_recipe,
    train_here,
    warnings,
)  # fmt: skip

MODERN = (
    "ema.decay=0.9", "ema.recalibrate=64", "loss.kind=hinge", "loss.one_call=true", "optimizer.decay_from=0.3",
    "discriminator.spectral=true", "discriminator.norm=none",
)  # fmt: skip


@pytest.mark.parametrize("at", [2, 9], ids=["before the first snapshot", "after one"])
@pytest.mark.long
def test_killed_and_resumed_equals_never_interrupted_bit_for_bit(
    finished: Path, tmp_path: Path, pictures: Path, at: int
) -> None:
    killed = tmp_path / "killed"
    _kill_at(at, tiny_recipe(tmp_path, pictures), killed, ["--seed", "5"])
    if at == 9:  # once through the real command; elsewhere in this process
        assert not (killed / "generator_2.pth").exists()
        result = gan_train("resume", killed)
        assert result.returncode == 0, result.stderr
        assert "from step 7" in result.stdout
        _equal(finished, killed)
    else:
        _resumes_to(finished, killed)


@pytest.mark.long
def test_so_does_every_field_that_keeps_state(tmp_path: Path, pictures: Path) -> None:
    recipe = tiny_recipe(tmp_path, pictures)
    chosen = [word for s in MODERN for word in ("--set", s)]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train_here(recipe, whole, *MODERN)
    _kill_at(11, recipe, killed, chosen)
    _resumes_to(whole, killed)


def _resumes_to(whole: Path, killed: Path) -> None:
    """`killed`, once resumed, is `whole` in every bit of its weights and of its last snapshot."""
    assert not (killed / "generator_2.pth").exists()
    resume_here(killed)
    _equal(whole, killed)


def _equal(whole: Path, killed: Path) -> None:
    for name in ("generator_1.pth", "generator_2.pth", "discriminator_2.pth"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()
    ends = [torch.load(run / "snapshots" / "00000014.pt", weights_only=True) for run in (whole, killed)]
    for end in ends:
        del end["seconds"], end["log_bytes"]  # the clock's, and the lengths of its digits in the log
    same(*ends)
    lines = [json.loads(line) for line in (killed / "log.jsonl").read_text().splitlines()]
    measured = [line["step"] for line in lines if line["event"] == "measured"]
    assert measured == [5, 7, 12, 14]  # each once, although some steps were taken twice


def _kill_at(step: int, recipe: Path, run: Path, settings: list[str]) -> None:
    """Starts the run in a process that kills itself with SIGKILL right after `step`, in the middle of the loop."""
    program = (
        "import os, signal, sys\n"
        "from gan_export.cli import train\n"
        "from gan_export.training import events\n"
        "show = train._Display.__call__\n"
        "def watch(self, event):\n"
        f"    if isinstance(event, events.Stepped) and event.step == {step}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    show(self, event)\n"
        "train._Display.__call__ = watch\n"
        "train.main()\n"
    )
    command = [sys.executable, "-c", program, str(recipe), "-o", str(run), *settings]
    result = subprocess.run(command, env=environment(), capture_output=True, timeout=120, check=False)
    assert result.returncode == -signal.SIGKILL, result.stderr


def test_ctrl_c_keeps_everything_and_says_how_to_go_on(tmp_path: Path, pictures: Path) -> None:
    recipe = tiny_recipe(tmp_path, pictures)
    run = tmp_path / "run"
    process = subprocess.Popen(
        [*PROGRAM, str(recipe), "-o", str(run), "--set", "train.epochs=2000", "--set", "output.preview_every=2000",
         "--set", "output.save_every=2000"],
        preexec_fn=interruptible, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 60
    while time.monotonic() < until and not list(run.glob("snapshots/*.pt")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert f"gan-train resume {run}" in error
    assert "Traceback" not in error
    newest = sorted(run.glob("snapshots/*.pt"))[-1]
    kept = torch.load(newest, weights_only=True)["step"]
    assert f"stopped at step {kept}" in error
    assert not [p for p in run.rglob(".*") if p.is_file()]  # nothing half-written stays behind
    began = resume_here(run, f"train.epochs={kept // 7 + 2}")[0]
    assert isinstance(began, Began)
    assert began.step == kept


def test_a_finished_run_can_go_on_longer_and_equals_a_long_one(finished: Path, tmp_path: Path, pictures: Path) -> None:
    longer, again = tmp_path / "longer", tmp_path / "again"
    train_here(tiny_recipe(tmp_path, pictures), longer, "train.epochs=3", "train.seed=5")
    shutil.copytree(finished, again)
    resume_here(again, "train.epochs=3")
    assert (again / "generator_3.pth").read_bytes() == (longer / "generator_3.pth").read_bytes()


def test_another_thread_count_is_warned_of(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    newest = run / "snapshots" / "00000014.pt"
    snapshot = torch.load(newest, weights_only=True)
    snapshot["machine"]["threads"] = 64
    snapshot["machine"]["isa"] = "AVX1024"
    torch.save(snapshot, newest)
    warned = " ".join(warnings(resume_here(run, "train.epochs=3")))
    assert "threads: 64 then, 1 now" in warned
    assert "isa: AVX1024 then" in warned


def test_resumed_on_another_kind_of_device_it_goes_on(finished: Path, tmp_path: Path) -> None:
    """A snapshot as a GPU leaves it: its generator of random numbers says nothing to a CPU's."""
    ends = []
    for name in ("run", "again"):
        run = tmp_path / name
        shutil.copytree(finished, run)
        newest = sorted((run / "snapshots").iterdir())[-1]
        snapshot = torch.load(newest, weights_only=True)
        snapshot["machine"]["device"] = "cuda"
        snapshot["noise"] = torch.zeros(16, dtype=torch.uint8)
        torch.save(snapshot, newest)
        assert "device: cuda then, cpu now" in " ".join(warnings(resume_here(run, "train.epochs=3")))
        ends.append((run / "generator_3.pth").read_bytes())
    assert ends[0] == ends[1]


def test_pictures_that_moved_are_found_where_they_are_now(finished: Path, tmp_path: Path, pictures: Path) -> None:
    run, moved = tmp_path / "run", tmp_path / "moved"
    shutil.copytree(finished, run)
    shutil.copytree(pictures, moved)
    file = run / "recipe.json"
    recipe = json.loads(file.read_text())
    recipe["data"]["path"] = "where they lay before"
    file.write_text(json.dumps(recipe))
    refused(gan_train("resume", run, "--set", "train.epochs=3"), "where they lay before is not a folder")
    resume_here(run, "train.epochs=3", f"data.path={moved.as_posix()}")
    assert (run / "generator_3.pth").is_file()


@pytest.mark.long
def test_a_run_that_is_over_is_not_trained_on(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    before = (run / "recipe.json").read_bytes()
    refused(gan_train("resume", run, "--set", "train.epochs=1"), "step 14 already, in epoch 2", "2 or more")
    assert (run / "recipe.json").read_bytes() == before
    ended = resume_here(run, "train.epochs=3", "train.minutes=1e-9")[-1]
    assert isinstance(ended, Ended)
    assert ended.step == 14


@pytest.mark.long
def test_two_at_one_run_are_kept_apart(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    holds = (
        "import sys, time\nfrom pathlib import Path\nfrom gan_export.training import run_dir\n"
        f"with run_dir.lock_run_dir(Path({str(run)!r})):\n    print('held', flush=True)\n    time.sleep(300)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", holds], env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        refused(gan_train("resume", run, "--set", "train.epochs=3"), "another gan-train is using this folder")
    finally:
        other.kill()
        other.wait()
    resume_here(run, "train.epochs=3")
    assert (run / "generator_3.pth").is_file()
    assert not (run / ".lock").exists()


@pytest.mark.long
def test_resuming_with_other_data_is_refused(finished: Path, tmp_path: Path, pictures: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    shutil.copytree(finished, run)
    shutil.copytree(pictures, other)
    (other / "000.png").write_bytes((other / "001.png").read_bytes())
    file = run / "recipe.json"
    recipe = json.loads(file.read_text())
    recipe["data"]["path"] = str(other)
    file.write_text(json.dumps(recipe))
    refused(gan_train("resume", run, "--set", "train.epochs=3"), "the data differs from that of the run")


@pytest.mark.long
def test_a_damaged_snapshot_is_said(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    newest = run / "snapshots" / "00000014.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    refused(gan_train("resume", run), "00000014.pt is not a snapshot")
    newest.unlink()  # what the message says to do
    resume_here(run)
    assert (run / "generator_2.pth").read_bytes() == (finished / "generator_2.pth").read_bytes()
