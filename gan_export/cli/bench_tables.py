"""The tables that gan-bench prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gan_export.cli.say import say, table

if TYPE_CHECKING:
    from gan_export.bench.record import Run
    from gan_export.bench.summary import Line


def print_run(run: Run) -> None:
    from gan_export.bench import summary
    from gan_export.bench.record import image_size

    work = "" if run.model.flops is None else f", {run.model.flops / 1e6:,.0f} MFLOP per image"
    say(f"{run.model.name} ({run.model.arch}), {image_size(run.model)}{work}")
    say(f"{run.machine.gpu or run.machine.cpu}, {run.settings.threads} threads, device {run.settings.device}")
    found = summary.lines(run)
    for batch, quantity in dict.fromkeys((line.batch, line.quantity) for line in found):
        rows = [line for line in found if (line.batch, line.quantity) == (batch, quantity)]
        heading = f"batch {batch}, {summary.QUANTITY_NAMES[quantity]}"
        columns = ("runtime", "images/s", "95 % interval", "vs eager", "of peak", "call p50 / p90 / p99", "parity")
        print_table(heading, columns, [_cells(line) for line in rows], [line.excluded for line in rows])
    print_table(
        "start-up, memory, size",
        ("runtime", "version", "precision", "time to first image", "load", "peak memory", "file"),
        [summary.aside(e) for e in run.entries],
    )
    if run.peak:
        flops = ", ".join(f"{name} {value / 1e9:,.0f} GFLOP/s" for name, value in run.peak.flops.items())
        say(f"peak of this machine: matrix product {flops}; copy {run.peak.bytes / 1e9:,.1f} GB/s")
    for a in run.absent:
        say(f"{'failed' if a.failed else 'not measured'}: {a.title}: {a.reason}")
    for doubt in summary.doubts(run):
        say(f"unstable: {doubt}")
    if run.partial:
        say("partial: interrupted before the end")


def _cells(line: Line) -> tuple[str, ...]:
    from gan_export.bench import summary

    name, judged = summary.title(line.entry), summary.parity_text(line.parity)
    if line.rate is None or line.call is None:
        return (name, line.verdict, "-", "-", "-", "-", judged)
    ratio = line.against
    against = "" if ratio is None else f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
    return (
        name,
        summary.rate_text(line.rate.value),
        f"{summary.rate_text(line.rate.low)} to {summary.rate_text(line.rate.high)}",
        against,
        "" if line.of_peak is None else f"{line.of_peak:.0%}",
        " / ".join(summary.seconds_text(v) for v in line.call),
        judged,
    )


_AT_THE_RIGHT = frozenset(("images/s", "95 % interval", "vs eager", "of peak", "ratio", "batch", "peak memory", "file"))


def print_table(
    heading: str | None,
    columns: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    excluded: Sequence[bool] = (),
) -> None:
    # A table that is piped or redirected keeps its full lines; in a terminal it fits the window.
    width = None if sys.stdout.isatty() else 160
    table(columns, rows, heading=heading, right=_AT_THE_RIGHT, excluded=excluded, width=width, whole_first=True)
