"""--strict: what could be read in another way, or names what runs code elsewhere; and what is said without it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

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
    assert shown.err.startswith("warning: g.pth names posix.system: a program that unpickles it runs that")
    assert "posix.system" in shown.out.splitlines()[0]
    data = json.loads(command("gan-export", "inspect", naming, "--json").out)
    assert data["code"] == ["posix.system"]
    made = command("gan-export", "onnx", naming, "-o", tmp_path / "g.onnx")
    assert made.code == 0
    assert made.err.startswith("warning: g.pth names posix.system")
    drawn = command("gan-sample", naming, "-n", 2, "-o", tmp_path / "g.npy")
    assert drawn.code == 0
    assert "warning: g.pth names posix.system" in drawn.err


def test_strict_refuses_code(command: Command, naming: Path, tmp_path: Path) -> None:
    for program, *arguments in (
        ("gan-export", "inspect", naming),
        ("gan-export", "onnx", naming, "-o", tmp_path / "g.onnx"),
        ("gan-export", "all", naming, "-o", tmp_path / "all"),
        ("gan-export", "web", naming, "-o", tmp_path / "web"),
        ("gan-sample", naming, "-o", tmp_path / "g.npy"),
        ("gan-sample", naming, "--format", "png", "-o", tmp_path / "d"),
    ):
        assert "posix.system" in refused(command(program, *arguments, "--strict"))
    assert [p.name for p in tmp_path.iterdir()] == ["g.pth"]


def test_strict_refuses_what_is_not_settled(command: Command, classic_pth: Path, tmp_path: Path) -> None:
    shutil.copy(classic_pth, tmp_path / "g.pth")
    state = torch.load(tmp_path / "g.pth")
    both = tmp_path / "both.pth"
    torch.save({"netG": dict(state), "netG_B": dict(state)}, both)
    line = refused(command("gan-export", "inspect", both, "--strict"))
    assert "it could also be the generator netG_B (--key netG_B)" in line
    assert command("gan-export", "inspect", both, "--key", "netG", "--strict").code == 0
    assert command("gan-export", "inspect", tmp_path / "g.pth", "--strict").code == 0
