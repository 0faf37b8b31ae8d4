"""What a run tells while it goes on, and who listens.

The loop calls one observer with these; the commands draw a bar from them, `JsonLog` writes log.jsonl and
`Board` writes TensorBoard's files.  An observer never changes what is computed.
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
    """A run starts, or goes on at `step` > 0."""

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
    """One step is done (on a GPU: is queued)."""

    step: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Means over the steps since the last one of these."""

    step: int
    epoch: int
    loss_d: float
    loss_g: float
    score_generated: float
    score_real: float
    images_per_second: float
    seconds: float  # of training so far, all sittings together


@dataclass(frozen=True, slots=True)
class Scored:
    """What the digit classifier says of the generator that would be saved now: `metrics.digits.Report.to_json`."""

    step: int
    epoch: int
    seconds: float  # of training so far
    figures: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Warned:
    """Something a person should know."""

    step: int
    text: str


@dataclass(frozen=True, slots=True)
class Wrote:
    """A file is there, whole."""

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
        """Bytes written so far, safely on disk: where a resumed run cuts the log."""
        ...

    def close(self) -> None: ...


class JsonLog:
    """log.jsonl: a line for each event but the steps.  Opened at `position`; what lay behind it is cut."""

    def __init__(self, path: Path, position: int) -> None:
        self._file = open(path, "ab")  # noqa: SIM115  closed by close()
        if self._file.tell() > position:
            self._file.truncate(position)
            self._file.seek(0, os.SEEK_END)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Stepped):
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
    """Raises UnavailableError where the tensorboard extra is not installed."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise UnavailableError(
            "TensorBoard is not installed; `pip install tensorboard`, or leave out --tensorboard"
        ) from None


class Board:
    """TensorBoard scalars and preview grids, in `folder`; see `require_tensorboard`."""

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
    """One observer that tells each of `observers`, in their order."""
    all_of_them = tuple(observers)

    def tell(event: Event) -> None:
        for observer in all_of_them:
            observer(event)

    return tell


def _plain(event: Event) -> dict[str, Any]:
    data = asdict(event)
    for key, value in data.items():
        if isinstance(value, Path):
            data[key] = value.name
    return data
