"""Compute the rows of all tables from a run's raw samples, and why its figures may be unstable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gan_export._lib.escape import Csv, Text, csv_rows
from gan_export.bench import stats
from gan_export.bench.backends import BACKENDS
from gan_export.bench.record import BackendResult, Parity, Quantity, Row, Run

MOST_SPREAD = 0.05  # half an interval, as a share of the median
MOST_FOREIGN = 0.05  # of all processors' time, taken by other processes while a block ran
MOST_STOLEN = 0.02  # of all processors' time, taken by other virtual machines
BASELINE = "eager"
NARROW = ("bf16", "fp16", "int8", "16-bit")  # in titles of backends that may narrow
QUANTITY_NAMES: dict[Quantity, str] = {"model": "model", "end_to_end": "end to end"}
_COLUMNS = (
    "contender", "provider", "precision", "batch", "quantity", "images_per_second", "low", "high",
    "p50_s", "p90_s", "p99_s", "parity_passed", "max_abs", "identical", "prepare_s", "struck",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table.  If it is `excluded`, it has no speed.

    verdict: why it has no speed, in a few words; empty if it has one
    rate: images per second; call: percentiles 50, 90 and 99 of a call, seconds
    against: the speed relative to the baseline, from blocks of the same rounds; None for the baseline itself
    of_peak: share of the best matrix product of this precision, None without a roofline
    """

    entry: BackendResult
    batch: int
    quantity: Quantity
    parity: Parity | None
    rate: stats.Interval | None
    call: tuple[float, float, float] | None
    against: stats.Interval | None
    of_peak: float | None
    verdict: str = ""

    @property
    def excluded(self) -> bool:
        return self.rate is None


def lines(run: Run) -> list[Line]:
    """Return the rows in the order of quantity, batch, and the run's backends."""
    entries = {e.contender: e for e in run.entries}
    order = {e.contender: i for i, e in enumerate(run.entries)}
    rows = sorted(run.rows, key=lambda r: (r.quantity != "model", r.batch, order[r.contender]))
    return [_line(run, row, entries[row.contender]) for row in rows]


def verdict(run: Run, row: Row) -> str:
    """Return why a row has no speed, or an empty string.

    A speed needs images that were right before and after timing, in each process.
    """
    if row.parity is None:
        return "not verified"
    if not row.parity.passed:
        return "wrong images"
    if row.unproven and any(a.contender == row.contender and a.failed for a in run.absent):
        return "failed"
    blocks, process = proven(row)
    if not blocks:
        return "not verified after timing"
    return "" if len(stats.independent_samples(blocks, process)) > 1 else "only one block"


def proven(row: Row) -> tuple[list[tuple[int, ...]], list[int]]:
    """Return the blocks whose images were verified after timing, and the process of each."""
    kept = [(b, p) for b, p in zip(row.blocks, row.process, strict=True) if p not in row.unproven and b]
    return [block for block, _ in kept], [number for _, number in kept]


def title(entry: BackendResult) -> str:
    """Return a backend's title, with its precision unless that is float32, and its provider if there is a choice."""
    words = [entry.title]
    if entry.precision == "fp32" and (narrow := [w for w in NARROW if w in entry.title.lower().split()]):
        words.append(f"(float32: it has no {narrow[0]} for these layers)")
    elif entry.precision != "fp32" and entry.precision not in entry.title.lower().split():
        words.append(entry.precision)
    if provider := {"CPUExecutionProvider": "CPU", "CUDAExecutionProvider": "CUDA"}.get(entry.provider):
        words.append(provider)
    return " ".join(words)


def aside(entry: BackendResult) -> tuple[str, ...]:
    """Return the properties other than speed: title, version, precision, start, loading, peak memory, file."""
    return (
        title(entry),
        entry.version,
        entry.precision,
        seconds_text(min(entry.starts)),
        seconds_text(min(entry.loads)),
        size_text(entry.peak_memory),
        size_text(entry.size),
    )


def doubts(run: Run) -> list[str]:
    """Return why the run's figures are unstable, one sentence each; empty for a quiet run."""
    found = []
    foreign = [v for row in run.rows for v in row.foreign]
    stolen = [v for row in run.rows for v in row.stolen]
    if foreign and float(np.mean(foreign)) > MOST_FOREIGN:
        found.append(f"other processes took {np.mean(foreign):.0%} of the processors while it measured")
    if stolen and float(np.mean(stolen)) > MOST_STOLEN:
        found.append(f"the hypervisor took {np.mean(stolen):.0%} of the processor time")
    timed = [line for line in lines(run) if line.rate is not None]
    by_right = {c.name for c in BACKENDS if c.fewer_products}
    counted = [line for line in timed if line.entry.contender not in by_right]
    highest = max((line.of_peak or 0.0 for line in counted), default=0.0)
    if highest > 1.0:
        found.append(f"the peak was measured too low: a runtime reached {highest:.0%} of it")
    wide = [line for line in timed if line.rate is not None and line.rate.half_width > MOST_SPREAD]
    if wide:
        worst = max(wide, key=lambda line: line.rate.half_width if line.rate else 0.0)
        where = f"{title(worst.entry)}, batch {worst.batch}, {QUANTITY_NAMES[worst.quantity]}"
        half = worst.rate.half_width if worst.rate else 0.0
        bound = f"{len(wide)} of {len(timed)} rows have an interval wider than ±{MOST_SPREAD:.0%}"
        found.append(f"{bound}, up to ±{half:.0%} ({where})")
    return found


def parity_text(parity: Parity | None) -> str:
    """Return a short text of the largest error of a value and the share of bytes that differ."""
    if parity is None:
        return "not verified"
    differ = 1.0 - parity.identical
    value = "" if parity.max_abs is None else f"{parity.max_abs:.1e}"
    if not parity.passed and parity.max_abs is None:
        value = "no finite values, or only bytes"
    share = "bytes equal" if differ == 0 else f"{differ:.2%} bytes off by up to {parity.byte_step}"
    if parity.passed and parity.psnr is not None:
        share += f", {parity.psnr:.0f} dB"
    return f"{value}, {share}" if value else share


def to_csv(run: Run) -> Text[Csv]:
    """Return one CSV line per row, with seconds and images per second at full precision."""
    table: list[tuple[object, ...]] = [_COLUMNS]
    prepare = {(r.contender, r.batch, r.quantity): r.prepare for r in run.rows}
    for line in lines(run):
        rate = (line.rate.value, line.rate.low, line.rate.high) if line.rate else ("", "", "")
        judged = (line.parity.passed, line.parity.max_abs, line.parity.identical) if line.parity else ("", "", "")
        key = (line.entry.contender, line.batch, line.quantity)
        call = line.call or ("", "", "")
        ran = (line.entry.provider, line.entry.precision)
        table.append((key[0], *ran, *key[1:], *rate, *call, *judged, prepare[key], line.verdict))
    return csv_rows(table)


def seconds_text(seconds: float) -> str:
    """Return a duration with three digits and a suitable unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{_three(seconds / size)} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def rate_text(rate: float) -> str:
    """Return images per second with three digits, or as a whole number."""
    return f"{rate:,.0f}" if rate >= 100 else _three(rate)


def size_text(size: int | None) -> str:
    """Return a size in MB of a million bytes."""
    return "" if size is None else f"{size / 1e6:,.1f} MB" if size < 1e8 else f"{size / 1e6:,.0f} MB"


def _three(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _line(run: Run, row: Row, entry: BackendResult) -> Line:
    if why := verdict(run, row):
        return Line(entry, row.batch, row.quantity, row.parity, None, None, None, None, why)
    blocks, process = proven(row)
    call = stats.median_seconds(stats.independent_samples(blocks, process))
    rate = stats.Interval(row.batch / call.high, row.batch / call.value, row.batch / call.low)
    of_peak = None
    if run.peak is not None and run.model.flops is not None and entry.precision in run.peak.flops:
        of_peak = run.model.flops * rate.value / run.peak.flops[entry.precision]
    points = stats.percentiles_seconds(blocks)
    return Line(
        entry,
        row.batch,
        row.quantity,
        row.parity,
        rate,
        (points[0], points[1], points[2]),
        _against(run, row),
        of_peak,
    )


def _against(run: Run, row: Row) -> stats.Interval | None:
    for other in run.rows:
        same = (other.batch, other.quantity) == (row.batch, row.quantity)
        if same and other.contender == BASELINE and row.contender != BASELINE and not verdict(run, other):
            theirs, mine = stats.pairs(*proven(other), *proven(row))
            return stats.paired_ratio(theirs, mine) if len(mine) > 1 else None
    return None
