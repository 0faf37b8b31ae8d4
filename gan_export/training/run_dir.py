"""The layout of a run's folder.  Nothing here imports torch.

recipe.json                                    the recipe, every field
log.jsonl                                      one line per event of `events`
previews/EPOCH_{2x5,beside-real,grid}.png      counted from 0001
generator_EPOCH.pth, discriminator_EPOCH.pth   bare state_dicts
snapshots/STEP.pt                              the complete state, for `resume`
tensorboard/                                   with --tensorboard
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_export._lib import fs, locks, plaindata
from gan_export._lib.escape import json_text
from gan_export._lib.fs import atomic_file, write_text
from gan_export.errors import GanExportError, Topic, first_line, linked, printable
from gan_export.training.recipe import Recipe, from_data

RECIPE = "recipe.json"
LOG = "log.jsonl"
BOARD = "tensorboard"
PREVIEWS = "previews"
_LOCK = ".lock"
_OWN = (RECIPE, LOG, BOARD, PREVIEWS, "snapshots", _LOCK)  # what a run writes to, or into
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNFINISHED = "." + "[0-9a-f]" * 8  # prefix of temporary files of `atomic_file`
_WRITTEN = tuple(
    where + _UNFINISHED + name
    for where, name in (
        ("", f".{RECIPE}"), ("", ".generator_*.pth"), ("", ".discriminator_*.pth"), ("snapshots/", ".*.pt"),
        (f"{PREVIEWS}/", ".*.png"),
    )
)  # fmt: skip


@linked(Topic.RUNS)
def check_new(run: Path) -> None:
    """Raise GanExportError unless `run` is free for a new run."""
    name = printable(str(run))
    if run.exists() and not run.is_dir():
        raise GanExportError(f"{name} is a file; name a folder with target=")
    if run.exists() and any(run.iterdir()):
        raise GanExportError(
            f"{name} already exists; continue it with `gan-train resume {name}`, or name another folder with target="
        )


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A finished run.

    folder: of the run, with its log, previews and checkpoints; generator: the last checkpoint
    seconds: of training, without previews and measurements
    """

    folder: Path
    generator: Path
    step: int
    epoch: int
    seconds: float


@dataclass(frozen=True, slots=True)
class DistillResult:
    """A finished run of a student.

    folder:  of the run; student: its last checkpoint, which every command reads without flags
    seconds: of training, without previews and measurements
    figures: parameters, bytes, PSNR and distances of both generators, the content of figures.json
    """

    folder: Path
    student: Path
    step: int
    seconds: float
    figures: Mapping[str, Any]


def make(run: Path, recipe: Recipe) -> None:
    """Remove half-written files of a killed run from the folder, and write the recipe."""
    for left in (p for pattern in _WRITTEN for p in run.glob(pattern)):
        left.unlink(missing_ok=True)
    with atomic_file(run / RECIPE) as temporary:
        write_text(temporary, json_text(recipe.to_json(), indent=2))


@linked(Topic.RUNS)
def recipe(run: Path) -> Recipe:
    """Return the recipe of the run in `run`; raise GanExportError if there is no run."""
    file = run / RECIPE
    if not file.is_file():
        raise GanExportError(
            f"{printable(str(run))} contains no run ({RECIPE} is missing); `gan-train RECIPE` starts one"
        )
    try:
        data = plaindata.from_json(file.read_bytes())
    except ValueError:
        raise GanExportError(f"{printable(str(file))} is damaged; start a new run in another folder") from None
    return from_data(data, str(file))


@linked(Topic.RUNS)
def log(run: Path) -> list[dict[str, Any]]:
    """Return every event in the log, except a half-written last line.

    Raises GanExportError for another line that is not an event, and if nothing is logged yet.
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
                    f"{printable(str(file))}, line {number} is not an event of a run: {first_line(e, 100)}; "
                    "start a new run in another folder"
                ) from None
    if not lines:
        raise GanExportError(f"{printable(str(run))} has logged nothing yet; `gan-train resume` goes on with it")
    return lines


def checkpoint(run: Path, net: str, epoch: int) -> Path:
    """Return the path of a network's checkpoint; `net` is generator or discriminator."""
    return run / f"{net}_{epoch}.pth"


def generators(run: Path) -> list[Path]:
    """Return the checkpoints of a run's generator, or of its student, oldest first."""
    paths = (path for pattern in ("generator_*.pth", "student_*.safetensors") for path in run.glob(pattern))
    found = (path for path in paths if path.stem.rpartition("_")[2].isdecimal())
    return sorted(found, key=lambda path: int(path.stem.rpartition("_")[2]))


def preview(run: Path, epoch: int, name: str) -> Path:
    return run / PREVIEWS / f"{epoch:04d}_{name}.png"


def snapshot(run: Path, step: int) -> Path:
    return run / "snapshots" / f"{step:08d}.pt"


@contextmanager
def lock_run_dir(run: Path) -> Iterator[None]:
    """Create the run's folder if needed and lock it; raise GanExportError if another gan-train has the lock.

    Also raises GanExportError for a run with links to files elsewhere, because a run may come from a stranger.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise GanExportError(f"{printable(str(run))} can't be made: {e.strerror}; name another with target=") from None
    for name in _OWN:
        fs.refuse_link(run / name)
    try:
        with locks.try_lock(run / _LOCK):
            try:
                yield
            finally:
                (run / _LOCK).unlink(missing_ok=True)
    except BlockingIOError:
        raise GanExportError(f"{printable(str(run))}: another gan-train is using this folder; wait for it") from None


@contextmanager
def explain_disk_full(run: Path) -> Iterator[None]:
    """Add how to continue to the error of a full disk, for code that writes to the run."""
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
    """Return the snapshots of a run, oldest first."""
    return sorted((run / "snapshots").glob("[0-9]*.pt"))
