"""The plan of a run, from the command line or a suite's TOML file, checked before anything is measured."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, get_args

from gan_export._lib import plaindata
from gan_export.bench import backends, models
from gan_export.bench.backends import Backend
from gan_export.bench.environment import memory_available, usable_processors
from gan_export.bench.record import Quantity
from gan_export.errors import GanExportError, Topic, linked, printable
from gan_export.runtimes.base import Clock

QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
CLOCKS: tuple[Clock, ...] = get_args(Clock)
DEVICES = ("auto", "cpu", "cuda")
LARGEST_BATCH = 1 << 20
_HEADROOM = 0.8  # of the available memory


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings of a run.

    batches:    images per call; with `sweep`, the powers of two from 1 on instead
    runtimes:   names of backends; empty for the usual ones
    device:     "auto" is cuda if there is such a device, else cpu
    threads:    the same for every backend; None: as many as this process may use
    rounds:     turns of each backend in one process; block_seconds: the minimum duration of a turn
    processes:  how often everything is repeated in fresh processes
    warm_seconds: the maximum duration of a warm-up, per backend and batch size; it ends once times are stable
    roofline:   whether to measure the machine's peak too
    clock:      "wall", or "processor": the processor time of the backend's process, which other load disturbs less
    batches_of: the batches of single models, by name, instead of `batches`
    """

    batches: tuple[int, ...] = (512,)
    runtimes: tuple[str, ...] = ()
    quantities: tuple[Quantity, ...] = ("model",)
    models: tuple[str, ...] = ("classic",)
    device: str = "auto"
    threads: int | None = None
    rounds: int = 7
    block_seconds: float = 0.3
    warm_seconds: float = 6.0
    processes: int = 1
    seed: int = 0
    sweep: bool = False
    roofline: bool = True
    clock: Clock = "wall"
    batches_of: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    suite: str | None = None

    def __post_init__(self) -> None:
        _check(bool(self.batches), "no batch size is given")
        lists = isinstance(self.batches_of, Mapping) and all(isinstance(own, tuple) for own in self.batches_of.values())
        _check(lists, "batches_of: must be a list of each model, such as classic = [1, 64]")
        for batch in (*self.batches, *(batch for own in self.batches_of.values() for batch in own)):
            _check(_whole(batch) and 1 <= batch <= LARGEST_BATCH, f"batch {batch}: must be 1 to {LARGEST_BATCH}")
        for name in self.runtimes:
            backends.find(name)
        for name in (*self.models, *self.batches_of):
            models.find(name)
        _check(all(self.batches_of.values()), "no batch size is given")
        _check(self.clock in CLOCKS, f"clock {_shown(self.clock)}: must be {' or '.join(CLOCKS)}")
        _check(bool(self.models), "no generator is given")
        for quantity in self.quantities:
            _check(quantity in QUANTITIES, f"quantity {_shown(quantity)}: must be {' or '.join(QUANTITIES)}")
        _check(bool(self.quantities), "no quantity is given")
        _check(
            self.device in DEVICES, f"device {_shown(self.device)}: must be {', '.join(DEVICES[:-1])} or {DEVICES[-1]}"
        )
        if self.threads is not None:
            _check(_whole(self.threads) and 1 <= self.threads <= 1024, f"threads {self.threads}: must be 1 to 1024")
        _check(_whole(self.rounds) and 2 <= self.rounds <= 10000, f"rounds {self.rounds}: must be 2 to 10000")
        _check(_whole(self.processes) and 1 <= self.processes <= 100, f"processes {self.processes}: must be 1 to 100")
        for name in ("block_seconds", "warm_seconds"):
            value = getattr(self, name)
            _check(
                isinstance(value, int | float) and 0 < value <= 600, f"{name} {value}: must be above 0 and at most 600"
            )
        _check(_whole(self.seed) and 0 <= self.seed < 1 << 64, f"seed {self.seed}: must be 0 to 2^64-1")

    def resolved_device(self) -> str:
        """Return the device that is used: "auto" becomes cuda or cpu."""
        if self.device != "auto":
            return self.device
        from gan_export.runtimes.cuda import device_count

        return "cuda" if device_count() else "cpu"

    def resolved_threads(self) -> int:
        """Return the number of threads of every backend."""
        return self.threads or usable_processors()

    def of_model(self, name: str) -> Plan:
        """Return the plan for one built-in generator."""
        return replace(self, models=(name,), batches=self.batches_of.get(name, self.batches))

    def entrants(self, device: str) -> tuple[Backend, ...]:
        """Return the backends to run: the named ones, even if they don't support the device, or its usual ones."""
        if self.runtimes:
            return tuple(backends.find(name) for name in dict.fromkeys(self.runtimes))
        return backends.default_backends(device)


@linked(Topic.SUITES)
def from_suite(name: str) -> Plan:
    """Return the plan of a built-in suite, or of a TOML file by its path.

    Raises GanExportError for an unknown suite, and for an unknown field, with the nearest name.
    """
    file = _suite(name)
    try:
        data = plaindata.from_toml(file.read_text(encoding="utf-8"))
    except OSError as e:
        raise GanExportError(f"{printable(str(file))}: {e.strerror}; there are {', '.join(suite_names())}") from None
    except ValueError as e:
        raise GanExportError(f"{printable(str(file))} is not a suite in TOML: {printable(str(e))}") from None
    return _from_mapping(data, file.name)


def suite_names() -> list[str]:
    """Return the names of the built-in suites."""
    return sorted(_suites())


def merged(plan: Plan, given: Mapping[str, Any]) -> Plan:
    """Return `plan` with the values of the command line; None keeps the plan's value."""
    known: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    if "batches" in known:
        known["batches_of"] = {}  # the command line's are for every model
    return replace(plan, **known)


def check_memory(batch: int, bytes_at_work: int, bytes_out: int, entrants: int, device: str) -> None:
    """Raise GanExportError if a batch size needs more memory than there is.

    bytes_at_work: of one image, input and output of the largest layer together; bytes_out: of one image's outputs.
    Each backend keeps its latents and images while the others run, and one of them runs; a copy of its largest layer
    is added as workspace.
    """
    if device != "cpu":
        return  # CUDA's allocator raises an error of its own, which is shown in the row
    available = memory_available()
    needed = batch * (2 * bytes_at_work + (2 * entrants + 2) * bytes_out)
    if available and needed > _HEADROOM * available:
        raise GanExportError(
            f"batch {batch} needs about {needed / 2**30:.1f} GiB, and {available / 2**30:.1f} GiB is free; "
            "use a smaller batch or fewer runtimes"
        )


def _from_mapping(data: Mapping[str, Any], file: str) -> Plan:
    hidden = ("suite", "description")
    known = [f.name for f in fields(Plan) if f.name not in hidden]
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key == "description":
            continue
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise GanExportError(f"{printable(file)}: there is no field {printable(key)}; {hint}")
        values[key] = _frozen(value)
    try:
        return Plan(**values, suite=file.removesuffix(".toml"))
    except TypeError as e:
        raise GanExportError(f"{printable(file)}: {printable(str(e))}") from None
    except GanExportError as e:
        raise GanExportError(f"{printable(file)}: {e}") from None


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _frozen(inner) for name, inner in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _suites() -> dict[str, Traversable]:
    folder = resources.files("gan_export.bench").joinpath("suites")
    return {file.name.removesuffix(".toml"): file for file in folder.iterdir() if file.name.endswith(".toml")}


def _suite(name: str) -> Traversable:
    if name.endswith(".toml"):
        return Path(name)
    if found := _suites().get(name):
        return found
    names = suite_names()
    near = difflib.get_close_matches(name, names, n=1)
    known = f"there are {', '.join(names)}" if names else "give the path of a .toml file"
    hint = f"did you mean {near[0]}?" if near else known
    raise GanExportError(f"there is no suite {printable(name)}; {hint}")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: object) -> str:
    return printable(str(value), 60)


def _check(fits: bool, otherwise: str) -> None:
    if not fits:
        raise GanExportError(otherwise)
