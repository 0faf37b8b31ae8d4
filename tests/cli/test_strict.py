"""--strict refuses a reading that another could replace and names that run code elsewhere; without it, a note."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.main import get_command

from gan_export.cli import bench, export, sample, train
from tests.checkpoint.makers import Calls
from tests.conftest import Command, refused


@pytest.fixture
def naming(tmp_path: Path, classic: nn.Module) -> Path:
    """A generator beside a call of os.system."""
    path = tmp_path / "g.pth"
    torch.save({"netG": classic.state_dict(), "x": Calls(os.system, ("touch ran",))}, path)
    return path


def test_code_is_shown_first(command: Command, naming: Path, tmp_path: Path) -> None:
    shown = command("gan-export", "inspect", naming)
    assert shown.code == 0
    assert shown.err.startswith("warning: g.pth names posix.system, code that runs if a program unpickles the file")
    assert "posix.system" in shown.out.splitlines()[0]
    data = json.loads(command("gan-export", "inspect", naming, "--json").out)
    assert data["code"] == ["posix.system"]
    made = command("gan-export", "onnx", naming, "-o", tmp_path / "g.onnx")
    assert made.code == 0
    assert made.err.startswith("warning: g.pth names posix.system")
    drawn = command("gan-sample", naming, "-n", 2, "-o", tmp_path / "g.npy")
    assert drawn.code == 0
    assert "warning: g.pth names posix.system" in drawn.err


APPS = {"gan-export": export, "gan-sample": sample, "gan-bench": bench, "gan-train": train}
# The rest of the line of each command that takes a checkpoint; @ is a folder with g.pth in it.
LINES: dict[tuple[str, str], tuple[str, ...]] = {
    ("gan-export", "inspect"): ("inspect", "@/g.pth"),
    ("gan-export", "export"): ("onnx", "@/g.pth", "-o", "@/g.onnx"),
    ("gan-export", "all"): ("all", "@/g.pth", "-o", "@/all"),
    ("gan-export", "web"): ("web", "@/g.pth", "-o", "@/web"),
    ("gan-export", "verify"): ("verify", "@/own.gan", "@/g.pth"),
    ("gan-sample", "sample"): ("@/g.pth", "-o", "@/g.npy"),
    ("gan-sample", "apply"): ("apply", "@/g.pth", "@/photo.png", "-o", "@/out.png"),
    ("gan-sample", "dataset"): ("dataset", "@/g.pth", "--format", "png", "-o", "@/d"),
    ("gan-sample", "interpolate"): ("interpolate", "@/g.pth", "--keypoints", "3", "-o", "@/walk.gif"),
    ("gan-sample", "check"): ("check", "@/data", "--generator", "@/g.pth"),
    ("gan-bench", "bench"): ("@/g.pth", "--batch", "1", "--rounds", "2", "--runtimes", "eager"),
    ("gan-sample", "evaluate"): ("evaluate", "@/g.pth", "-n", "1000"),
    ("gan-train", "distill"): ("distill", "@/g.pth", "-o", "@/student"),
}
MORE = (("gan-bench", "@/g.pth", "@/own.gan"),)


def test_every_command_that_takes_a_checkpoint_is_known() -> None:
    """By its options: those that say how a checkpoint is read, or which generator a dataset has."""
    found = set()
    for program, app in APPS.items():
        for name, line in get_command(app.app).commands.items():  # type: ignore[attr-defined]
            options = {option for parameter in line.params for option in parameter.opts}
            if options & {"--key", "--generator", "--module"}:
                found.add((program, name))
                assert "--strict" in options, (program, name)
    assert found == set(LINES)


@pytest.mark.long
def test_strict_refuses_code(command: Command, naming: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.gan"
    assert command("gan-export", "native", naming, "-o", own).code == 0
    drawn = command(
        "gan-sample", "dataset", naming, "-n", 8, "--format", "npy", "--workers", 1, "-o", tmp_path / "data"
    )
    assert drawn.code == 0, drawn
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for program, *words in (*((program, *line) for (program, _), line in LINES.items()), *MORE):
        line = [word.replace("@", str(tmp_path)) for word in words]
        assert "posix.system" in refused(command(program, *line, "--strict")), (program, words)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.long
def test_every_command_warns_of_code_without_strict(command: Command, naming: Path, tmp_path: Path) -> None:
    assert command("gan-export", "native", naming, "-o", tmp_path / "own.gan").code == 0
    data = ("--format", "npy", "--workers", 1, "-o", tmp_path / "data")
    for program, *line in (
        ("gan-sample", "dataset", naming, "-n", 8, *data),
        ("gan-sample", "check", tmp_path / "data", "--generator", naming),
        ("gan-export", "verify", tmp_path / "own.gan", naming),
        ("gan-bench", naming, "--batch", 1, "--rounds", 2, "--seconds", 0.01, "--runtimes", "eager"),
    ):
        done = command(program, *line)
        assert done.code == 0, done
        assert "warning: g.pth names posix.system" in done.err, line


def test_strict_refuses_what_is_not_settled(command: Command, classic_pth: Path, tmp_path: Path) -> None:
    shutil.copy(classic_pth, tmp_path / "g.pth")
    state = torch.load(tmp_path / "g.pth")
    both = tmp_path / "both.pth"
    torch.save({"netG": dict(state), "netG_B": dict(state)}, both)
    line = refused(command("gan-export", "inspect", both, "--strict"))
    assert "it could also be the generator netG_B (--key netG_B)" in line
    line = refused(command("gan-export", "inspect", tmp_path / "g.pth", "--strict"))
    assert "not settled" in line
    assert "the last activation (tanh or a sigmoid: --output)" in line
    flags = ("--output", "tanh", "--slope", "0", "--bn-eps", "1e-5", "--prior", "normal")
    assert command("gan-export", "inspect", both, "--key", "netG", "--strict", *flags).code == 0
    assert command("gan-export", "inspect", tmp_path / "g.pth", "--strict", *flags).code == 0
