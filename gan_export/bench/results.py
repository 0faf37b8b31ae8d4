"""The results of a run while it is measured: rows, backends, and why some were not measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gan_export._lib.fs import sha256_file
from gan_export.bench.backends import Backend
from gan_export.bench.record import BackendResult, Parity, Quantity, Row, SkippedBackend
from gan_export.formats import manifest
from gan_export.runtimes.subprocess_session import RemoteSession


@dataclass(slots=True)
class Series:
    """A row that is still being measured.

    unproven: the processes whose images are not verified after timing (yet)
    """

    contender: Backend
    batch: int
    quantity: Quantity
    prepare: float = 0.0
    parity: Parity | None = None
    blocks: list[tuple[int, ...]] = field(default_factory=list)
    process: list[int] = field(default_factory=list)
    foreign: list[float] = field(default_factory=list)
    stolen: list[float] = field(default_factory=list)
    unproven: set[int] = field(default_factory=set)

    def judge(self, parity: Parity) -> None:
        """Store the latest comparison; once one has failed, in any process, the row stays failed."""
        if self.parity is None or self.parity.passed:
            self.parity = parity

    def row(self) -> Row:
        return Row(
            self.contender.name,
            self.batch,
            self.quantity,
            self.prepare,
            self.parity,
            tuple(self.blocks),
            tuple(self.process),
            tuple(self.foreign),
            tuple(self.stolen),
            tuple(sorted(self.unproven)),
        )


@dataclass(slots=True)
class Results:
    """The results of a run; `entries` and `absent` are by backend name."""

    all_series: dict[tuple[str, int, Quantity], Series] = field(default_factory=dict)
    entries: dict[str, BackendResult] = field(default_factory=dict)
    absent: dict[str, SkippedBackend] = field(default_factory=dict)
    gpu_states: list[Mapping[str, float]] = field(default_factory=list)

    def series(self, contender: Backend, batch: int, quantity: Quantity) -> Series:
        """Return the series of these three; create it if there is none."""
        return self.all_series.setdefault((contender.name, batch, quantity), Series(contender, batch, quantity))

    def rows(self) -> tuple[Row, ...]:
        """Return all rows that have samples or failed verification."""
        return tuple(s.row() for s in self.all_series.values() if s.blocks or (s.parity and not s.parity.passed))

    def enter(self, contender: Backend, session: RemoteSession, path: Path, precision: str, seconds: float) -> None:
        """Add a backend that has loaded `path` in a fresh process and generated its first image after `seconds`."""
        known = self.entries.get(contender.name)
        info = session.info
        self.entries[contender.name] = BackendResult(
            contender=contender.name,
            title=contender.title,
            runtime=info.runtime,
            version=info.version,
            device=info.device,
            provider=info.provider,
            threads=info.threads,
            precision=precision,
            folded=contender.folded,
            format=contender.export or "checkpoint",
            size=manifest.size(path),
            sha256=sha256_file(path) if path.is_file() else "",
            starts=(*(known.starts if known else ()), seconds),
            loads=(*(known.loads if known else ()), session.seconds_to_load),
            peak_memory=known.peak_memory if known else None,
            peak_device_memory=known.peak_device_memory if known else None,
        )

    def weigh(self, contender: Backend, session: RemoteSession) -> None:
        """Store the largest memory that any of the backend's processes has used."""
        if contender.name in self.absent:
            return
        memory, entry = session.memory(), self.entries[contender.name]
        self.entries[contender.name] = replace(
            entry,
            peak_memory=_largest(entry.peak_memory, memory.peak),
            peak_device_memory=_largest(entry.peak_device_memory, memory.device_peak),
        )

    def doubt(self, contender: Backend, process: int, batch: int | None = None) -> None:
        """Mark the rows of a backend that failed in `process` as not verified: those of `batch`, or all."""
        for series in self.all_series.values():
            if series.contender.name == contender.name and batch in (None, series.batch):
                series.unproven.add(process)

    def give_up(self, contender: Backend, reason: str, *, failed: bool) -> None:
        """Store why a backend is not measured; the first reason is kept."""
        self.absent.setdefault(contender.name, SkippedBackend(contender.name, contender.title, reason, failed))


def _largest(a: int | None, b: int | None) -> int | None:
    return max((v for v in (a, b) if v is not None), default=None)
