"""What the training tests share: the real command, and recipes small enough to train in a second."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from gan_export.training import events, trainer
from gan_export.training.recipe import load
from tests.conftest import error_lines

ROOT = Path(__file__).resolve().parents[2]
DATA_ROOT = ROOT.parent / "shared" / "data"  # the full MNIST, where a machine has it
PROGRAM = [sys.executable, "-c", "from gan_export.cli.train import main; main()"]

TINY = """
[generator]
nz = 8
widths = [12, 8, 8]
[discriminator]
widths = [8, 8, 12]
[train]
epochs = 2
batch = 16
init = "normal"
[output]
snapshot_every = 7
log_every = 5
save_every = 1
[compute]
threads = 1
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def gan_train(*args: object, cwd: Path | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    return subprocess.run(
        [*PROGRAM, *map(str, args)],
        cwd=cwd, env=environment(), capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def train_here(recipe: Path, run: Path, *settings: str) -> list[events.Event]:
    """As the command does it, in this process: quicker where the command itself is not what is tested."""
    observed: list[events.Event] = []
    trainer.train(load(str(recipe), settings), run, trainer.Options(observe=observed.append))
    return observed


def resume_here(run: Path, *settings: str) -> list[events.Event]:
    """`gan-train resume`, in this process."""
    observed: list[events.Event] = []
    trainer.resume(run, list(settings), trainer.Options(observe=observed.append))
    return observed


def warnings(observed: list[events.Event]) -> list[str]:
    return [event.text for event in observed if isinstance(event, events.Warned)]


def tiny_recipe(folder: Path, pictures: Path, extra: str = "") -> Path:
    """A recipe file that trains on the folder `pictures`."""
    file = folder / "tiny.toml"
    file.write_text(f'[data]\nsource = "folder"\npath = "{pictures.as_posix()}"\n{TINY}{extra}', encoding="utf-8")
    return file


def refused(result: subprocess.CompletedProcess[str], *words: str, code: int = 2) -> None:
    """One line on stderr that holds all of `words`, the exit code, no traceback."""
    lines = error_lines(result.stderr)
    assert result.returncode == code, result.stderr
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("gan-train: ")
    for word in words:
        assert word in lines[0], f"{word!r} is missing in {lines[0]!r}"


def same(a: Any, b: Any, path: str = "") -> None:
    """Raises AssertionError at the first place where two nested structures of tensors differ in a bit."""
    if isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor), path
        assert a.dtype == b.dtype, path
        assert torch.equal(a, b), path
    elif isinstance(a, dict):
        assert list(a) == list(b), path
        for key in a:
            same(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            same(x, y, f"{path}[{i}]")
    else:
        assert a == b, path


def children(pid: int) -> list[int]:
    """The Python processes that `pid` has started; Linux."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def alive(pid: int) -> bool:
    """Whether it runs; a zombie doesn't.  Linux."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
