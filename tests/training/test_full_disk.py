"""A run that finds no more room: what it has saved stays whole, and it goes on once there is some."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.training.common import PROGRAM, environment, gan_train, refused, resume_here, tiny_recipe, train_here


@pytest.mark.long
def test_a_full_disk_while_saving_leaves_the_last_snapshot_whole(tmp_path: Path, pictures: Path) -> None:
    """A file-size limit stands in for the full disk: the write fails midway with an OSError."""
    recipe = tiny_recipe(tmp_path, pictures)
    run = tmp_path / "run"
    train_here(recipe, run, "train.epochs=1")
    kept = (run / "snapshots" / "00000007.pt").read_bytes()
    limit = len(kept) // 2

    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); {PROGRAM[-1]}"
    result = subprocess.run(
        [*PROGRAM[:-1], limited, "resume", str(run), "--set", "train.epochs=3"],
        env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 2, result.stderr
    refused(result, "can't be written", "00000007.pt, the last snapshot, is whole", "gan-train resume")
    assert (run / "snapshots" / "00000007.pt").read_bytes() == kept
    assert not [p for p in run.rglob(".*") if p.is_file()]
    resume_here(run, "train.epochs=3")


@pytest.mark.long
def test_a_disk_that_fills_up_costs_nothing_but_room(tmp_path: Path, pictures: Path) -> None:
    """A real small file system, on which the log, a preview or a snapshot is what finds it full."""
    recipe = tiny_recipe(tmp_path, pictures)
    train_here(recipe, tmp_path / "whole", "train.epochs=3")
    small = tmp_path / "small"
    small.mkdir()
    if os.system(f"mount -t tmpfs -o size=64m tmpfs {small} 2>/dev/null") != 0:
        pytest.skip("no right to mount a small file system")
    try:
        run, ballast = small / "run", small / "ballast"
        train_here(recipe, run, "train.epochs=1")
        kept = (run / "snapshots" / "00000007.pt").read_bytes()
        for free in (0, 4096, len(kept) // 2, len(kept) + 4096):
            ballast.unlink(missing_ok=True)
            ballast.write_bytes(bytes(shutil.disk_usage(small).free - free))
            result = gan_train("resume", run, "--set", "train.epochs=3")
            refused(result, "No space left", "the last snapshot, is whole", f"gan-train resume {run}")
            assert (run / "snapshots" / "00000007.pt").read_bytes() == kept
        ballast.unlink()
        resume_here(run, "train.epochs=3")
        for name in ("generator_3.pth", "discriminator_3.pth"):
            assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    finally:
        os.system(f"umount {small}")
