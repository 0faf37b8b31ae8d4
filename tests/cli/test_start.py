"""What the commands cost before they do anything."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
