"""A run as data: one JSON file, written once and never changed.  docs/bench.schema.json is its schema.

Reports and comparisons are computed from these fields; nothing derived is stored.
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
from gan_export.errors import GanExportError, Topic, linked, printable
from gan_export.runtimes.base import Clock

FAMILY = "gan-export/bench/"
SCHEMA = f"{FAMILY}1"
Quantity = Literal["model", "end_to_end"]


@dataclass(frozen=True, slots=True)
class Model:
    """The generator that was measured.

    nz: values of its latents, together; image: the shape of its first output, at the usual sizes
    name: the built-in generator's name, or the file's (without its folder); source: the checkpoint's sha256
    flops, bytes: of one image by the spec, None if only an artifact was given; bytes counts each layer's
    input and output once, weights: bytes of all weights
    """

    name: str
    arch: str
    nz: int
    classes: int
    image: tuple[int, ...]
    source: str
    flops: int | None
    bytes: int | None
    weights: int | None


def image_size(model: Model) -> str:
    """The size of its image as people write it: 64x64x3."""
    channels, *sides = model.image
    return "x".join(map(str, (*reversed(sides), channels)))


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the measurement; two runs with different settings are not compared.

    clock: what a call's nanoseconds are of: the wall's clock, or the processor time of the backend's process
    """

    device: str
    threads: int
    pin: bool
    seed: int
    rounds: int
    block_seconds: float
    warm_seconds: float
    processes: int
    clock: Clock = "wall"  # older records without this field are by the wall's clock


@dataclass(frozen=True, slots=True)
class Parity:
    """The comparison of a runtime's images with the reference's, from the timed session.

    For the model, the images of the last timed call; end to end, those of a similar call for the first images, because
    each timed call generates others.

    against: the reference; images: the number of compared images; identical: share of equal bytes
    max_abs, mean_abs: errors of the values, None for an artifact that returns bytes; psnr: in dB, None if all bytes
    are equal
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
    """A loaded backend: the properties of its session, and its start-up time, memory and size.

    starts:  seconds from the start of a fresh process to the first image, one number per process
    loads:   seconds of those until the artifact was loaded, including imports
    precision: that of the arithmetic, or of the file's contents if narrower
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
    """The samples of one backend, batch and quantity.

    model: from latents in the device's memory to images in the device's memory.
    end_to_end: from a seed to uint8 images in host memory.
    blocks:  nanoseconds of each call, one block per turn, in order of the rounds; process[i] is the process of block i
    foreign, stolen: shares of all processors that other processes and virtual machines used, one number per block
    prepare: seconds of binding and of the first run, including compilation
    unproven: the processes whose images were not verified after timing, because the backend failed or the run ended
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
    unproven: tuple[int, ...] = ()  # older records without this field are of runs that ended normally


@dataclass(frozen=True, slots=True)
class SkippedBackend:
    """A backend that was not measured completely, with the reason."""

    contender: str
    title: str
    reason: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Run:
    """A complete run.  `partial`: whether it was interrupted; `load`: load average over a minute, before and after."""

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
    """Return one JSON object with one line per entry and row, so that two runs can be compared as text."""
    return json_lines(asdict(run), ("entries", "rows", "absent"))


def write(run: Run, path: Path) -> None:
    """Write a new file; raise GanExportError if it exists, because a result is never overwritten."""
    if path.exists():
        raise GanExportError(
            f"{printable(str(path))} already exists, and a result is never overwritten; name another file"
        )
    with atomic_file(path) as temporary:
        write_text(temporary, to_text(run))


@linked(Topic.BENCH_RESULTS)
def read(path: Path) -> Run:
    """Read a run; raise GanExportError if the file is missing, not JSON, or doesn't fit the schema."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "not text"
        raise GanExportError(f"{printable(str(path))}: {reason}") from None
    return parse(text, str(path))


def is_run(path: Path) -> bool:
    """Return whether a JSON file is a run of gan-bench, of any version."""
    try:
        data = plaindata.from_json(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and str(data.get("schema", "")).startswith(FAMILY)


def parse(text: str, name: str) -> Run:
    """Parse a run; `name` is used only in messages."""
    where = printable(name)
    try:
        data = plaindata.from_json(text)
    except ValueError:
        raise GanExportError(f"{where} is not JSON; name a result of gan-bench") from None
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
    """Return the file name of a run: time, suite, generator and device, so that a folder of runs is sorted."""
    when = run.created[:19].replace("-", "").replace(":", "").replace("T", "-")
    name = Path(run.model.name).stem
    return "-".join(file_stem(part) for part in (when, run.suite or "run", name, run.settings.device)) + ".json"
