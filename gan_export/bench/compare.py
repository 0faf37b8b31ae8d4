"""Compare two runs row by row: the ratio of their speeds with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from gan_export.bench import stats, summary
from gan_export.bench.record import Row, Run, Settings
from gan_export.errors import CheckFailedError, GanExportError, Topic, linked, printable

# Durations and counts of measurements change an interval but not its center: runs may differ in these.
_FREE = ("rounds", "block_seconds", "warm_seconds", "processes", "seed")
# What a backend ran: the user's file may differ from the bench's own export of the same name.
_RAN = ("provider", "precision", "folded")


@dataclass(frozen=True, slots=True)
class Pair:
    """A row that both runs have.

    ratio:  above 1 if the second run is faster; None if either is excluded
    broken: whether the second run is excluded and the first is not
    """

    contender: str
    batch: int
    quantity: str
    ratio: stats.Interval | None
    broken: bool = False

    @property
    def verdict(self) -> str:
        """The result for the whole interval, in a word."""
        if self.ratio is None:
            return "not comparable"
        if self.ratio.low > 1:
            return "faster"
        return "slower" if self.ratio.high < 1 else "the same"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of two runs.

    pairs: rows that both runs have; only_before, only_after: the others, as backend, batch and quantity
    """

    pairs: tuple[Pair, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]


@linked(Topic.BENCH_RESULTS)
def compare(before: Run, after: Run, *, unlike: bool = False) -> Comparison:
    """Compare two runs; raise GanExportError if machines, models, files or settings differ, unless `unlike`.

    Versions and commits may differ, because they are compared.
    """
    if not unlike and (gaps := differences(before, after)):
        raise GanExportError(f"these runs can't be compared: {'; '.join(gaps)}; force=True compares them nevertheless")
    old = {_key(r): r for r in before.rows}
    new = {_key(r): r for r in after.rows}
    pairs = []
    for key, row in old.items():
        if key in new:
            sound, still = not summary.verdict(before, row), not summary.verdict(after, new[key])
            ratio = _ratio(row, new[key]) if sound and still else None
            pairs.append(Pair(*key, ratio, broken=sound and not still))
    if not pairs:
        raise GanExportError("these runs have no row in common: no runtime, batch and quantity is in both")
    return Comparison(
        tuple(pairs),
        tuple(" ".join(map(str, k)) for k in old if k not in new),
        tuple(" ".join(map(str, k)) for k in new if k not in old),
    )


def differences(before: Run, after: Run) -> list[str]:
    """Return the differences that prevent a comparison, as text."""
    gaps = [f"the machine's {gap}" for gap in before.machine.differences(after.machine)]
    for name in ("arch", "nz", "classes", "image", "weights"):
        old, new = getattr(before.model, name), getattr(after.model, name)
        if old != new:
            gaps.append(f"the generator's {name}: {old} and {new}")
    for name in (f.name for f in fields(Settings) if f.name not in _FREE):
        old, new = getattr(before.settings, name), getattr(after.settings, name)
        if old != new:
            gaps.append(f"{name}: {old} and {new}")
    then = {entry.contender: entry for entry in before.entries}
    for entry in after.entries:
        for name in _RAN if entry.contender in then else ():
            old, new = getattr(then[entry.contender], name), getattr(entry, name)
            if old != new:
                gaps.append(f"{entry.contender}'s {name}: {_shown(old)} and {_shown(new)}")
    return gaps


def check(comparison: Comparison, fail_below: float) -> None:
    """Raise CheckFailedError if a row's whole interval is below `fail_below`: a regression, not noise.

    Also raises it if the second run lacks or excludes a row, or measured it too briefly to compare.
    """
    lost = [f"{p.contender} {p.batch} {p.quantity}" for p in comparison.pairs if p.broken] + [*comparison.only_before]
    if lost:
        raise CheckFailedError(f"the second run has no speed for {'; '.join(lost)}")
    slow = [p for p in comparison.pairs if p.ratio is not None and p.ratio.high < fail_below]
    if slow:
        raise CheckFailedError(f"{len(slow)} of {len(comparison.pairs)} rows are below {fail_below:g}: {_named(slow)}")


def _named(pairs: Sequence[Pair]) -> str:
    return "; ".join(
        f"{p.contender} at {p.batch}, {p.quantity}: {p.ratio.value:.3f} ({p.ratio.low:.3f} to {p.ratio.high:.3f})"
        for p in pairs
        if p.ratio is not None
    )


def _shown(value: object) -> str:
    return printable(("no", "yes")[value] if isinstance(value, bool) else str(value), 60)


def _key(row: Row) -> tuple[str, int, str]:
    return row.contender, row.batch, row.quantity


def _ratio(before: Row, after: Row) -> stats.Interval:
    return stats.ratio(
        stats.independent_samples(*summary.proven(before)), stats.independent_samples(*summary.proven(after))
    )
