"""A run as data: one JSON file, written once and never changed.  docs/bench.schema.json is its schema.

Everything a report or a comparison says is computed from these fields; nothing derived is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from gan_export._lib import plaindata
from gan_export._lib.escape import Json, Text, file_stem, json_lines
from gan_export._lib.fs import atomic_file, write_text
from gan_export._lib.schema import decode
from gan_export.bench.environment import Machine
from gan_export.bench.roofline import Peak
from gan_export.errors import GanExportError, printable

FAMILY = "gan-export/bench/"
SCHEMA = f"{FAMILY}1"
Quantity = Literal["model", "end_to_end"]


@dataclass(frozen=True, slots=True)
class Model:
    """What was generated.

    name: the built-in generator's name, or the file's (without its folder); source: the checkpoint's sha256
    flops, bytes: of one image by the spec, None where only an artifact was given; bytes counts each layer's
    input and output once, weights: bytes of all weights
    """

    name: str
    arch: str
    nz: int
    classes: int
    image: tuple[int, int, int]
    source: str
    flops: int | None
    bytes: int | None
    weights: int | None


@dataclass(frozen=True, slots=True)
class Settings:
    """How it was measured; two runs with unlike settings are not compared."""

    device: str
    threads: int
    pin: bool
    seed: int
    rounds: int
    block_seconds: float
    warm_seconds: float
    processes: int


@dataclass(frozen=True, slots=True)
class Parity:
    """A runtime's pictures against the reference's, from the session that was timed.

    Of the model what the call made that was timed last; end to end, what a call of the same kind made of the first
    images, since each timed one draws others.

    against: what the reference is; images: how many were compared; identical: share of equal bytes
    max_abs, mean_abs: of the values, None for an artifact that gives bytes; psnr: in dB, None where no byte differs
    """

    passed: bool
    against: str
    images: int
    max_abs: float | None
    mean_abs: float | None
    identical: float
    byte_step: int
    psnr: float | None


@dataclass(frozen=True, slots=True)
class BackendResult:
    """One contender, loaded: what its session says of itself, and what it costs apart from its speed.

    starts:  seconds from the start of a fresh process to the first picture, a number a process
    loads:   seconds of those until the artifact was loaded, imports included
    precision: of the arithmetic, or of what the file holds where that is narrower
    size:    bytes of all files of the artifact; sha256: of the one that was loaded, empty for a folder
    """

    contender: str
    title: str
    runtime: str
    version: str
    device: str
    provider: str
    threads: int
    precision: str
    folded: bool
    format: str
    size: int
    sha256: str
    starts: tuple[float, ...]
    loads: tuple[float, ...]
    peak_memory: int | None
    peak_device_memory: int | None


@dataclass(frozen=True, slots=True)
class Row:
    """One contender, batch and quantity.

    model: latents in the device's memory to pictures in the device's memory.
    end_to_end: a seed to uint8 pictures in host memory.
    blocks:  nanoseconds of each call, a block a turn, in the order of the rounds; process[i] numbers block i's process
    foreign, stolen: shares of all processors that other processes and other virtual machines took, a number a block
    prepare: seconds of binding and of the first run, compilation included
    unproven: the processes whose pictures were not judged after timing, since the contender failed or the run ended
    """

    contender: str
    batch: int
    quantity: Quantity
    prepare: float
    parity: Parity | None
    blocks: tuple[tuple[int, ...], ...]
    process: tuple[int, ...]
    foreign: tuple[float, ...]
    stolen: tuple[float, ...]
    unproven: tuple[int, ...] = ()  # records from before there was this field are of runs that ended by themselves


@dataclass(frozen=True, slots=True)
class SkippedBackend:
    """A contender that was not measured, or not to its end, and why."""

    contender: str
    title: str
    reason: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Run:
    """Everything.  `partial`: interrupted; `load` before and after: load average of the last minute."""

    schema: str
    created: str
    command: str
    suite: str | None
    partial: bool
    machine: Machine
    versions: Mapping[str, str]
    commit: str | None
    model: Model
    settings: Settings
    peak: Peak | None
    load: tuple[float, float]
    gpu_states: tuple[Mapping[str, float], ...]
    entries: tuple[BackendResult, ...]
    rows: tuple[Row, ...]
    absent: tuple[SkippedBackend, ...]


def to_text(run: Run) -> Text[Json]:
    """One JSON object, a line for each entry and row so that two runs can be read side by side."""
    return json_lines(asdict(run), ("entries", "rows", "absent"))


def write(run: Run, path: Path) -> None:
    """A new file.  Raises GanExportError where there is one already: a result is never overwritten."""
    if path.exists():
        raise GanExportError(
            f"{printable(str(path))} is there already, and a result is never overwritten; name another"
        )
    with atomic_file(path) as temporary:
        write_text(temporary, to_text(run))


def read(path: Path) -> Run:
    """Raises GanExportError for a file that is missing, no JSON, of another schema, or doesn't fit it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "not text"
        raise GanExportError(f"{printable(str(path))}: {reason}") from None
    return parse(text, str(path))


def is_run(path: Path) -> bool:
    """Whether a JSON file calls itself a run of gan-bench, of whatever version."""
    try:
        data = plaindata.from_json(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and str(data.get("schema", "")).startswith(FAMILY)


def parse(text: str, name: str) -> Run:
    """`name` is used in messages alone."""
    where = printable(name)
    try:
        data = plaindata.from_json(text)
    except ValueError:
        raise GanExportError(f"{where} is no JSON; a result of gan-bench is wanted") from None
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        description = f"of schema {printable(str(schema), 60)}" if schema else "no result of gan-bench"
        raise GanExportError(f"{where} is {description}; this program reads {SCHEMA}")
    run = decode(Run, data, name)
    entries = {entry.contender for entry in run.entries}
    if stray := next((row.contender for row in run.rows if row.contender not in entries), None):
        raise GanExportError(f"{where}: a row of {printable(stray, 40)}, which no entry is of")
    return run


def file_name(run: Run) -> str:
    """Of a kept run: when, what, where, so that a folder of them sorts and reads."""
    when = run.created[:19].replace("-", "").replace(":", "").replace("T", "-")
    name = Path(run.model.name).stem
    return "-".join(file_stem(part) for part in (when, run.suite or "run", name, run.settings.device)) + ".json"
