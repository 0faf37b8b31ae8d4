"""Completion in bash, zsh and fish, by the lines that docs/reference/commands.in.md has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

BIN = Path(sys.executable).parent
PAGE = (ROOT / "docs" / "reference" / "commands.in.md").read_text(encoding="utf-8")


def completed(words: str) -> list[str]:
    """What bash offers after a line, whose last word may be begun."""
    program = words.split(maxsplit=1)[0]
    position = len(words.split()) - (not words.endswith(" "))
    variables = {
        f"_{program.replace('-', '_').upper()}_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(position),
    }
    done = subprocess.run(
        [str(BIN / program)], env=os.environ | variables, capture_output=True, text=True, check=True, timeout=120
    )
    assert not done.stderr
    return done.stdout.split()


def test_formats_commands_and_flags_are_offered() -> None:
    first = completed("gan-export ")
    assert {"onnx", "native", "all", "web", "verify", "doctor"} <= set(first)
    assert completed("gan-export op") == ["openvino"]
    assert completed("gan-export onnx g.pth --preci") == ["--precision"]
    assert set(completed("gan-sample ")) == {"apply", "interpolate", "dataset", "check", "evaluate"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_lines_of_the_page_are_shell_code(shell: str) -> None:
    """Each shell runs the lines for it; zsh and fish are skipped if they are not installed."""
    lines = [line for line in re.findall(r"(?m)^    (.*_COMPLETE=.*)$", PAGE) if f"source_{shell} " in line]
    assert len(lines) == 4
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    before = {"zsh": "autoload -U compinit; compinit -D\n"}.get(shell, "")
    asked = {"bash": "complete -p gan-export\n", "fish": 'complete -C "gan-export op"\n'}.get(shell, "")
    text = before + f"{lines[0]}\n" + asked
    done = subprocess.run([shell, "-c", text], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert shell != "bash" or "_gan_export_completion" in done.stdout
    assert shell != "fish" or done.stdout.split() == ["openvino"]
