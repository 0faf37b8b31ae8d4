"""Events of a run, and their observers.

The loop calls one observer with each event; the commands show a progress bar, `JsonLog` writes log.jsonl, and `Board`
writes TensorBoard's files.  An observer never changes what is computed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from gan_export.errors import UnavailableError
from gan_export.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Began:
    """A run starts, or continues at `step` > 0."""

    recipe: Recipe
    folder: Path
    device: str
    pictures: int
    skipped: tuple[str, ...]
    step: int
    steps: int  # of the whole run
    steps_per_epoch: int


@dataclass(frozen=True, slots=True)
class Stepped:
    """One step is done (on a GPU: queued)."""

    step: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Means over the steps since the last event of this type."""

    step: int
    epoch: int
    loss_d: float
    loss_g: float
    score_generated: float
    score_real: float
    images_per_second: float
    seconds: float  # of training so far, including before a resume


@dataclass(frozen=True, slots=True)
class Scored:
    """A measurement of the generator that would be saved now: the figures of `Scorer.score`."""

    step: int
    epoch: int
    seconds: float  # of training so far
    figures: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning for the user."""

    step: int
    text: str


@dataclass(frozen=True, slots=True)
class Wrote:
    """A file has been written completely."""

    step: int
    epoch: int
    kind: Literal["snapshot", "checkpoint", "preview"]
    path: Path


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over, or was interrupted after a clean snapshot."""

    step: int
    epoch: int
    seconds: float
    interrupted: bool


Event = Began | Stepped | Measured | Scored | Warned | Wrote | Ended
Observer = Callable[[Event], None]


class Log(Protocol):
    """An observer with a file behind it."""

    def __call__(self, event: Event) -> None: ...
    def position(self) -> int:
        """Return the number of bytes that are safely on disk, to which a resumed run truncates the log."""
        ...

    def close(self) -> None: ...


class JsonLog:
    """A writer of log.jsonl: one line per event except the steps.  The file is truncated at `position`.

    It takes any frozen dataclass as an event, so that every kind of run has the same log.
    """

    def __init__(self, path: Path, position: int) -> None:
        self._file = open(path, "ab")  # noqa: SIM115  closed by close()
        if self._file.tell() > position:
            self._file.truncate(position)
            self._file.seek(0, os.SEEK_END)

    def __call__(self, event: Any) -> None:
        if type(event).__name__ == Stepped.__name__:
            return
        line = {"event": type(event).__name__.lower(), **_plain(event)}
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()

    def position(self) -> int:
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


def require_tensorboard() -> None:
    """Raise UnavailableError if the tensorboard extra is not installed."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise UnavailableError(
            "TensorBoard is not installed; `pip install tensorboard`, or leave out tensorboard=True"
        ) from None


class Board:
    """A writer of TensorBoard scalars and preview grids into `folder`; see `require_tensorboard`."""

    def __init__(self, folder: Path, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=first_step or None)

    def __call__(self, event: Event) -> None:
        match event:
            case Measured():
                for name in ("loss_d", "loss_g", "score_generated", "score_real", "images_per_second"):
                    self._writer.add_scalar(name, getattr(event, name), event.step)
            case Scored(step=step, figures=figures):
                for name, value in figures.items():
                    if isinstance(value, float):
                        self._writer.add_scalar(f"metrics/{name}", value, step)
            case Wrote(kind="preview", path=path, step=step):
                import numpy as np
                from PIL import Image

                with Image.open(path) as image:
                    pixels = np.asarray(image.convert("RGB"))
                self._writer.add_image(path.stem.partition("_")[2], pixels, step, dataformats="HWC")
            case Ended():
                self._writer.flush()
            case _:
                pass

    def close(self) -> None:
        self._writer.close()


def broadcast(observers: Iterable[Observer]) -> Observer:
    """Return one observer that calls each of `observers` in order."""
    all_of_them = tuple(observers)

    def tell(event: Event) -> None:
        for observer in all_of_them:
            observer(event)

    return tell


def _plain(event: Any) -> dict[str, Any]:
    data = asdict(event)
    for key, value in data.items():
        if isinstance(value, Path):
            data[key] = value.name
    return data
