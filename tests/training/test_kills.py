"""Killed with SIGKILL at random steps and resumed again and again, a run ends with the bits of one that never was."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.training.common import PROGRAM, alive, children, environment, gan_train, same, tiny_recipe

EPOCHS = 24  # of 6 steps: more than the kills need, so that none comes too late
SETTINGS = (
    "data.drop_last=true", "ema.decay=0.9", "ema.recalibrate=64", "loss.kind=hinge", "loss.mixed=true", "loss.flip=0.1",
    "loss.r1=1", "discriminator.spectral=true", "augment.noise=0.1", "augment.translate=0.125",
    "optimizer.decay_from=0.3", f"train.epochs={EPOCHS}", "output.log_every=1", "output.snapshot_every=5",
    "output.preview_every=12", "output.save_every=4",
)  # fmt: skip

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="a process's children are looked up in Linux's /proc"),
]


@pytest.mark.parametrize(("processes", "kills"), [(1, 5), (2, 3)])
def test_kills_change_no_bit(processes: int, kills: int, tmp_path: Path, pictures: Path) -> None:
    draw = random.Random(processes)
    devices = ["--devices", str(processes)]
    first = [str(tiny_recipe(tmp_path, pictures)), *(w for s in SETTINGS for w in ("--set", s)), *devices]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    result = gan_train(*first, "-o", whole, timeout=240)
    assert result.returncode == 0, result.stderr
    for _ in range(kills):
        start = ["resume", str(killed), *devices] if killed.exists() else [*first, "-o", str(killed)]
        _killed_after(draw.randrange(12), start, killed / "log.jsonl", draw)
    assert not (killed / f"generator_{EPOCHS}.pth").exists()
    result = gan_train("resume", killed, *devices, timeout=240)
    assert result.returncode == 0, result.stderr

    for epoch in range(4, EPOCHS + 1, 4):
        for net in ("generator", "discriminator"):
            name = f"{net}_{epoch}.pth"
            assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
    ends = [torch.load(_newest(run), weights_only=True) for run in (whole, killed)]
    for end in ends:
        del end["seconds"], end["log_bytes"]  # the clock's, and the lengths of its digits in the log
    same(*ends)
    assert _losses(whole) == _losses(killed)
    assert _files(whole) == _files(killed)  # nothing half written stays behind


def _killed_after(steps: int, words: list[str], log: Path, draw: random.Random) -> None:
    """Starts the command, and kills one of its processes as soon as the log has so many steps more than at first."""
    process = subprocess.Popen(
        [*PROGRAM, *words], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert "steps of 16" in process.stdout.readline()
    until, before = time.monotonic() + 120, _steps(log)
    while _steps(log) < before + steps:
        time.sleep(0.002)
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
    others = children(process.pid)
    victim = draw.choice([process.pid, *others])
    os.kill(victim, signal.SIGKILL)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == (-signal.SIGKILL if victim == process.pid else 2), error
    while any(alive(pid) for pid in others):  # none trains on alone
        assert time.monotonic() < until
        time.sleep(0.02)


def _steps(log: Path) -> int:
    return log.read_bytes().count(b'"event": "measured"')


def _newest(run: Path) -> Path:
    return sorted((run / "snapshots").glob("*.pt"))[-1]


def _losses(run: Path) -> list[tuple[int, float, float]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [(m["step"], m["loss_d"], m["loss_g"]) for m in lines if m["event"] == "measured"]


def _files(run: Path) -> list[str]:
    return sorted(str(p.relative_to(run)) for p in run.rglob("*"))
