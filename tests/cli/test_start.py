"""What the commands cost before they do anything."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import Command, refused

COMMANDS = ("train", "export", "sample", "bench")
HEAVY = ("torch", "torchvision", "onnx", "onnxruntime", "openvino", "rich.progress")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_imports_nothing_heavy(name: str) -> None:
    program = (
        f"import sys; from gan_export.cli.{name} import main\n"
        f"sys.argv = ['gan-{name}', '--help']\n"
        "try: main()\n"
        "except SystemExit as e: assert not e.code\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"
    assert f"gan-{name}" in run.stdout


def test_the_package_itself_is_light() -> None:
    program = f"import sys, gan_export; print([m for m in {(*HEAVY, 'numpy')!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gan-export"], "gan-export: missing argument 'format'; see `gan-export export -h`"),
        (["gan-export", "onnx", "g.pth", "--stattic"], "no such option: --stattic .*--static"),
        (["gan-export", "onnx", "a", "b", "c"], "unexpected extra argument.* see `gan-export export -h`"),
        (["gan-sample", "g.gan", "-n", "x"], "'--count'.* whole number.* see `gan-sample sample -h`"),
        (["gan-sample", "check"], "gan-sample: missing argument 'folder'; see `gan-sample check -h`"),
        (["gan-bench", "--rounds"], "gan-bench: option .--rounds. requires an argument"),
        (["gan-sample", "evaluate"], "gan-sample: missing argument 'file'"),
    ],
)
def test_a_word_that_no_command_takes_is_one_line(command: Command, words: list[str], message: str) -> None:
    result = command(*words)
    assert re.search(message, refused(result)), result
    assert not result.out
