"""The settings of a run in which a student learns from its teacher, as frozen data.  Nothing here imports torch."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gan_export._lib import plaindata
from gan_export._lib.schema import decode
from gan_export.errors import GanExportError, printable
from gan_export.training.bounds import SOURCES
from gan_export.training.recipe import Adam, Discriminator, override

RECIPE = "distill.json"  # in the run's folder, every field


@dataclass(frozen=True, slots=True)
class Student:
    """The student: its teacher's layers with fewer channels, or fewer layers.  See `graph.narrow`, `graph.shallow`."""

    without: tuple[str, ...] = ()  # sums of residual blocks, and layers with weights, that the student doesn't have
    channels: float = 0.5  # share of the teacher's channels that every hidden layer has
    widths: Mapping[str, int] = field(default_factory=dict)  # layer -> its number of channels, instead of that share


@dataclass(frozen=True, slots=True)
class Loss:
    """What the student minimizes: each weight times its loss."""

    pixel: float = 1.0  # mean distance of its images from the teacher's
    pixel_kind: Literal["l1", "l2"] = "l1"
    features: float = 0.1  # mean squared distance of features, relative to their mean square
    features_of: str = "teacher"  # its layers; or an evaluator that is a torch network, such as digits
    adversarial: float = 0.05  # the loss of the discriminator's kind; unused without a discriminator
    kind: Literal["bce", "hinge", "non-saturating", "relativistic"] = "hinge"


@dataclass(frozen=True, slots=True)
class Judge:
    """The discriminator between the teacher's images and the student's, which keeps learning."""

    start: Literal["beside", "new", "none"] = "beside"  # beside: the one that gan-train saved with the teacher, if any
    network: Discriminator = field(
        default_factory=lambda: Discriminator(widths=(32, 64, 128), norm="none", spectral=True)
    )  # of a new one


@dataclass(frozen=True, slots=True)
class Optimizer:
    """Adam for both, and the schedule of the learning rates."""

    student: Adam = field(default_factory=lambda: Adam(lr=2e-3, beta2=0.99))
    discriminator: Adam = field(default_factory=lambda: Adam(lr=4e-4))
    decay_from: float = 0.0  # share of the run after which both rates fall linearly to zero; 1: never


@dataclass(frozen=True, slots=True)
class Ema:
    """A moving average of the student's weights, which is then previewed and saved."""

    decay: float = 0.998  # per update; 0: no average
    recalibrate: int = 16384  # images from which its BatchNorm statistics are measured


@dataclass(frozen=True, slots=True)
class Train:
    """Length, batch size and start of a run."""

    steps: int = 10_000
    batch: int = 64
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Data:
    """Real images, which nothing learns from: the last table states how far both generators are from them."""

    source: str = ""  # as data.source of a recipe; "": none but those that the evaluator itself has
    path: str = ""


@dataclass(frozen=True, slots=True)
class Output:
    """The output of a run.  None of it changes what is computed."""

    save_every: int = 5000  # steps between checkpoints student_STEP.safetensors; always the last
    preview_every: int = 500  # steps between previews
    snapshot_every: int = 500  # steps between snapshots
    keep: int = 2  # number of snapshots that are kept
    log_every: int = 20  # steps between lines of log.jsonl
    metrics_every: int = 0  # steps between measurements of the student, and at the end; 0: at the end only
    metrics_features: str = "auto"  # an evaluator, or the path of an ONNX file; auto: digits for images that it reads
    metrics_pictures: int = 2500  # images per measurement
    metrics_pictures_at_end: int = 10_000


@dataclass(frozen=True, slots=True)
class Compute:
    """Device and arithmetic."""

    device: str = "auto"  # auto, cpu, cuda, cuda:N, mps
    threads: int = 0  # CPU threads; 0: torch's default
    channels_last: bool = True
    tf32: bool = True
    deterministic: bool = True


@dataclass(frozen=True, slots=True)
class Distilling:
    """All settings of a run; `teacher` names the checkpoint, whose weights are copied into the run's folder."""

    name: str = "student"
    teacher: str = ""
    teacher_sha256: str = ""
    student: Student = field(default_factory=Student)
    loss: Loss = field(default_factory=Loss)
    discriminator: Judge = field(default_factory=Judge)
    optimizer: Optimizer = field(default_factory=Optimizer)
    ema: Ema = field(default_factory=Ema)
    train: Train = field(default_factory=Train)
    data: Data = field(default_factory=Data)
    output: Output = field(default_factory=Output)
    compute: Compute = field(default_factory=Compute)

    def to_json(self) -> dict[str, Any]:
        """Return plain data, which `from_data` turns back into equal settings."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return]


def load(path: Path | None, settings: Iterable[str] = ()) -> Distilling:
    """Return the settings of a TOML file, or the defaults, with `a.b=value` settings applied.

    Raises GanExportError for a file that is not TOML, and for an unknown field or a value out of bounds.
    """
    data: dict[str, Any] = {}
    if path is not None:
        try:
            data = plaindata.from_toml(path.read_text(encoding="utf-8"))
        except ValueError as e:
            raise GanExportError(f"{printable(str(path))} is not a recipe in TOML: {printable(str(e))}") from None
        except OSError as e:
            raise GanExportError(f"{printable(str(path))}: {e.strerror}; recipe= takes a TOML file") from None
    return from_data(override(data, settings), where=str(path or "settings="))


def read(run: Path) -> Distilling:
    """Return the settings of the run in `run`."""
    file = run / RECIPE
    try:
        data = plaindata.from_json(file.read_bytes())
    except (OSError, ValueError):
        raise GanExportError(f"{printable(str(file))} is damaged; start a new run in another folder") from None
    return from_data(data, str(file))


def resumed(recipe: Distilling, settings: Iterable[str]) -> Distilling:
    """Return `recipe` with settings that a resumed run may change; raise GanExportError for any other."""
    wanted = list(settings)
    for setting in wanted:
        key = setting.partition("=")[0].strip()
        if key not in ("train.steps", "compute.device") and not key.startswith(("output.", "data.")):
            raise GanExportError(
                f"settings={printable(key)}: a resumed run keeps its settings; only train.steps, output.*, data.* and "
                "compute.device can change"
            )
    return from_data(override(recipe.to_json(), wanted), where="settings=")


def from_data(data: Mapping[str, Any], where: str) -> Distilling:
    """Return settings from plain data, with every field checked.  `where` names the origin in messages."""
    recipe = decode(Distilling, data, where)
    _check(recipe)
    return recipe


def _check(r: Distilling) -> None:
    share = r.student.channels
    if not 0 < share <= 1:
        raise GanExportError(f"channels={share:g}: must be above 0 and below 1, a share of the teacher's channels")
    if share == 1 and not (r.student.widths or r.student.without):
        raise GanExportError("channels=1: the student is as wide as its teacher; give fewer, such as channels=0.5")
    for name in ("pixel", "features", "adversarial"):
        weight = getattr(r.loss, name)
        _bound(0 <= weight <= 1e6, f"loss.{name}", weight, "0 to 1e6")
    if not (r.loss.pixel or r.loss.features):
        raise GanExportError("loss.pixel and loss.features are 0: nothing ties the student's images to the teacher's")
    for net, adam in (("student", r.optimizer.student), ("discriminator", r.optimizer.discriminator)):
        _bound(0 < adam.lr <= 1, f"optimizer.{net}.lr", adam.lr, "over 0, at most 1")
        for name in ("beta1", "beta2", "weight_decay"):
            value = getattr(adam, name)
            _bound(0 <= value < 1, f"optimizer.{net}.{name}", value, "0 to under 1")
    _bound(0 <= r.optimizer.decay_from <= 1, "optimizer.decay_from", r.optimizer.decay_from, "0 to 1")
    _bound(0 <= r.ema.decay < 1, "ema.decay", r.ema.decay, "0 to under 1")
    _bound(r.ema.recalibrate >= 256, "ema.recalibrate", r.ema.recalibrate, "256 or more")
    _bound(1 <= r.train.steps <= 10**9, "train.steps", r.train.steps, "1 to 1e9")
    _bound(2 <= r.train.batch <= 65536, "train.batch", r.train.batch, "2 to 65536")
    _bound(0 <= r.train.seed < 2**32, "train.seed", r.train.seed, "0 to 2^32-1")
    widths = r.discriminator.network.widths
    _bound(
        bool(widths) and all(1 <= w <= 8192 for w in widths), "discriminator.network.widths", list(widths), "1 to 8192"
    )
    for name in ("save_every", "preview_every", "snapshot_every", "keep", "log_every"):
        _bound(getattr(r.output, name) >= 1, f"output.{name}", getattr(r.output, name), "1 or more")
    _bound(r.output.metrics_every >= 0, "output.metrics_every", r.output.metrics_every, "0 or more")
    for name in ("metrics_pictures", "metrics_pictures_at_end"):
        _bound(1000 <= getattr(r.output, name) <= 10**7, f"output.{name}", getattr(r.output, name), "1,000 to 1e7")
    if r.data.source and r.data.source not in SOURCES:
        raise GanExportError(f"data.source is {printable(r.data.source)}; it must be one of {', '.join(SOURCES)}")
    if r.data.source in ("folder", "npz") and not r.data.path:
        raise GanExportError("data.path is missing: name the folder of images or the file of arrays, data.path=PATH")
    _bound(0 <= r.compute.threads <= 1024, "compute.threads", r.compute.threads, "0 to 1024")
    kind, colon, index = r.compute.device.partition(":")
    known = kind in ("auto", "cpu", "cuda", "mps") and (not colon or (kind == "cuda" and index.isdecimal()))
    _bound(known, "device", printable(r.compute.device), "auto, cpu, cuda, cuda:N or mps")


def _bound(holds: bool, name: str, value: object, bounds: str) -> None:
    if not holds or (isinstance(value, float) and not math.isfinite(value)):
        raise GanExportError(f"{name} is {value}; it must be {bounds}")
