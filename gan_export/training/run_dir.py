"""A run's folder: what lies where in it.  Nothing here imports torch.

recipe.json                                    the recipe, every field
log.jsonl                                      what `events` says, a line each
previews/EPOCH_{2x5,beside-real,grid}.png      counted from 0001
generator_EPOCH.pth, discriminator_EPOCH.pth   bare state_dicts
snapshots/STEP.pt                              everything, for `resume`
tensorboard/                                   where it was asked for
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gan_export._lib import fs, locks, plaindata
from gan_export._lib.escape import json_text
from gan_export._lib.fs import atomic_file, write_text
from gan_export.errors import GanExportError, first_line, printable
from gan_export.training.recipe import Recipe, from_data

RECIPE = "recipe.json"
LOG = "log.jsonl"
BOARD = "tensorboard"
PREVIEWS = "previews"
_LOCK = ".lock"
_OWN = (RECIPE, LOG, BOARD, PREVIEWS, "snapshots", _LOCK)  # what a run writes to, or into
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNFINISHED = "." + "[0-9a-f]" * 8  # how `atomic_file` begins a temporary's name
_WRITTEN = tuple(
    where + _UNFINISHED + name
    for where, name in (
        ("", f".{RECIPE}"), ("", ".generator_*.pth"), ("", ".discriminator_*.pth"), ("snapshots/", ".*.pt"),
        (f"{PREVIEWS}/", ".*.png"),
    )
)  # fmt: skip


def check_new(run: Path) -> None:
    """Raises GanExportError unless `run` is free for a new run."""
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        name = printable(str(run))
        raise GanExportError(f"{name} is there already; `gan-train resume {name}` goes on, -o names another folder")


def make(run: Path, recipe: Recipe) -> None:
    """Removes what a kill left half written in the folder, and writes its recipe."""
    for left in (p for pattern in _WRITTEN for p in run.glob(pattern)):
        left.unlink(missing_ok=True)
    with atomic_file(run / RECIPE) as temporary:
        write_text(temporary, json_text(recipe.to_json(), indent=2))


def recipe(run: Path) -> Recipe:
    """The recipe of the run in `run`.  Raises GanExportError where there is no run."""
    file = run / RECIPE
    if not file.is_file():
        raise GanExportError(f"{printable(str(run))} holds no run ({RECIPE} is missing); `gan-train RECIPE` starts one")
    try:
        data = plaindata.from_json(file.read_bytes())
    except ValueError:
        raise GanExportError(f"{printable(str(file))} is damaged; start the run anew in another folder") from None
    return from_data(data, str(file))


def log(run: Path) -> list[dict[str, Any]]:
    """Every event that was logged, but for a last line that is half written.

    Raises GanExportError for a line before it that is no event, and where nothing is logged yet.
    """
    file = run / LOG
    lines: list[dict[str, Any]] = []
    written = file.read_bytes().split(b"\n") if file.is_file() else []
    for number, line in enumerate(written, 1):
        try:
            found = plaindata.from_json(line)
            if not isinstance(found, dict) or not isinstance(found.get("event"), str):
                raise ValueError("no event")
            lines.append(found)
        except ValueError as e:
            if number < len(written):
                raise GanExportError(
                    f"{printable(str(file))}, line {number} is no event of a run: {first_line(e, 100)}; "
                    "start the run anew in another folder"
                ) from None
    if not lines:
        raise GanExportError(f"{printable(str(run))} has logged nothing yet; `gan-train resume` goes on with it")
    return lines


def checkpoint(run: Path, net: str, epoch: int) -> Path:
    """`net` is generator or discriminator."""
    return run / f"{net}_{epoch}.pth"


def preview(run: Path, epoch: int, name: str) -> Path:
    return run / PREVIEWS / f"{epoch:04d}_{name}.png"


def snapshot(run: Path, step: int) -> Path:
    return run / "snapshots" / f"{step:08d}.pt"


@contextmanager
def lock_run_dir(run: Path) -> Iterator[None]:
    """Makes the run's folder where need be and holds it.  Raises GanExportError when another gan-train does.

    It raises that, too, for a run that keeps its files elsewhere by a link: a run may come from a stranger.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise GanExportError(f"{printable(str(run))} can't be made: {e.strerror}; name another with -o") from None
    for name in _OWN:
        fs.refuse_link(run / name)
    try:
        with locks.try_lock(run / _LOCK):
            try:
                yield
            finally:
                (run / _LOCK).unlink(missing_ok=True)
    except BlockingIOError:
        raise GanExportError(f"{printable(str(run))}: another gan-train is at work there; wait for it") from None


@contextmanager
def explain_disk_full(run: Path) -> Iterator[None]:
    """Around what writes to the run: to the error of a full disk it adds how to go on."""
    try:
        yield
    except (OSError, GanExportError) as e:
        cause = e if isinstance(e, OSError) else e.__cause__
        if not isinstance(cause, OSError) or cause.errno not in _NO_ROOM:
            raise
        kept = snapshots(run)[-1:]
        last = f"{kept[0].name}, the last snapshot, is whole" if kept else "there is no snapshot yet"
        message = e if isinstance(e, GanExportError) else f"{printable(str(run))} can't be written: {cause.strerror}"
        raise GanExportError(f"{message}; {last}: make room, then `gan-train resume {printable(str(run))}`") from e


def snapshots(run: Path) -> list[Path]:
    """The snapshots of a run, oldest first."""
    return sorted((run / "snapshots").glob("[0-9]*.pt"))
