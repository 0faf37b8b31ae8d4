"""What gan-sample shows of a dataset: progress while it is drawn, the closing table, the verdict of a check."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gan_export.cli.say import say
from gan_export.errors import CheckFailedError

if TYPE_CHECKING:
    from gan_export.datasets.run import DatasetRequest, Report
    from gan_export.datasets.writer import GeneratorSource

_SHOWN = 20  # faults that are named one by one


class Progress:
    """Pictures, pictures a second, bytes and the time left: a bar on a terminal, a line a minute elsewhere."""

    def __init__(self) -> None:
        self._drawn = self._bytes = self._total = self._before = 0
        self._begun = self._last = time.monotonic()
        self._live = sys.stderr.isatty()

    def expect(self, pictures: int) -> None:
        """So many are to be drawn from here on; how fast is measured from here, too."""
        self._before, self._total = self._drawn, self._drawn + pictures
        self._begun = time.monotonic()

    def __call__(self, pictures: int, size: int) -> None:
        self._drawn += pictures
        self._bytes += size
        now = time.monotonic()
        if now - self._last >= (0.2 if self._live else 60):
            self._last = now
            self._show(now - self._begun)

    def close(self) -> None:
        if self._live:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def _show(self, seconds: float) -> None:
        speed = (self._drawn - self._before) / max(seconds, 1e-9)
        total = max(self._total, self._drawn)  # what a worker that died had drawn is drawn again
        left = f"  {_time((total - self._drawn) / speed)} left" if speed else ""
        text = f"{self._drawn:,} of {total:,}  {speed:,.0f} img/s  {_bytes(self._bytes)}{left}"
        sys.stderr.write(f"\r\033[K{text}" if self._live else f"{text}\n")  # numbers and words of ours
        sys.stderr.flush()


def draw(source: GeneratorSource, request: DatasetRequest, target: str) -> None:
    """Draw a dataset and say how it went."""
    from gan_export.datasets import run

    progress = Progress()
    try:
        report = run.run(source, request, target, progress=progress, expect=progress.expect)
    finally:
        progress.close()
    for line in lines(report, target, request.format):
        say(line)


def lines(report: Report, target: str, format: str) -> list[str]:
    """The closing table."""
    notes = [f"damaged, drawn again: {fault}" for fault in report.redrawn[:_SHOWN]]
    if len(report.redrawn) > _SHOWN:
        notes.append(f"damaged, drawn again: {len(report.redrawn) - _SHOWN:,} more")
    state = "complete" if report.complete else f"{report.left:,} shards of the dataset are still to be drawn"
    notes.append(
        f"{target}: {report.pictures:,} pictures in {report.shards:,} shards, "
        f"{_bytes(report.bytes)} as {format}; {state}"
    )
    for name, note in report.notes.items():
        if name == "psi":
            notes.append(
                f"  psi          {note['psi']:g}: {note['variety']:.0%} of the variety without it "
                f"(mean distance of {note['of']} pictures)"
            )
        elif isinstance(note, dict):
            share = note["dropped"] / note["of"] if note["of"] else 0.0
            notes.append(f"  {name:12} left out {note['dropped']:,} of {note['of']:,} ({share:.1%})")
    if report.kept_shards:
        notes.append(f"  kept         {report.kept_shards:,} shards that were finished before, each checked")
    if not report.drawn:
        return [*notes, "  drawn        nothing: all was there"]
    notes.append(
        f"  drawn        {report.drawn:,} in {_time(report.seconds)}, {report.drawn / report.seconds:,.0f} img/s"
    )
    everything = report.spent.get("all", 0.0)
    parts = {what: report.spent.get(what, 0.0) for what in ("drawing", "encoding", "disk")}
    bound = max(parts, key=lambda what: parts[what])
    for what, seconds in parts.items():
        share = seconds / everything if everything else 0.0
        alone = f", {report.drawn / seconds:,.0f} img/s of one worker alone" if seconds else ""
        notes.append(f"  {what:12} {share:4.0%} of the workers' time{alone}{'  <- the bound' if what == bound else ''}")
    return notes


def check(target: str, generator: Path | None, runtime: str | None, device: str, pictures: int) -> None:
    """Check a dataset and say what was found.  Raises CheckFailedError for damage."""
    from gan_export.datasets import check as checking

    verdict = checking.check(target, generator, runtime=runtime, device=device, pictures=pictures)
    for fault in verdict.faults[:_SHOWN]:
        say(f"damaged: {fault}")
    if len(verdict.faults) > _SHOWN:
        say(f"damaged: {len(verdict.faults) - _SHOWN:,} more")
    shards = len(verdict.manifest.records)
    if verdict.faults:
        raise CheckFailedError(
            f"{target}: {len(verdict.faults):,} faults in {shards:,} shards; "
            "run the command that drew it again to mend them"
        )
    say(
        f"{target}: {verdict.pictures:,} pictures in {shards:,} shards, {_bytes(verdict.bytes)}: "
        "all as the manifest says"
    )
    if generator is None:
        say(f"  no picture was drawn again; --generator {verdict.manifest.job.generator} proves some")
    else:
        say(f"  {verdict.drawn} pictures drawn again: the same")


def _bytes(n: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:,.0f} {unit}" if unit == "B" else f"{n:,.1f} {unit}"
        n /= 1000
    return f"{n:,.1f} TB"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d}"
