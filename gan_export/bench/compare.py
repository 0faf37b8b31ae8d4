"""One run against another, row by row: how many times as fast, with the interval that says whether to believe it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from gan_export.bench import stats, summary
from gan_export.bench.record import Row, Run, Settings
from gan_export.errors import CheckFailedError, GanExportError, printable

# How long and how often something is measured moves its interval and not its middle: runs may differ in these.
_FREE = ("rounds", "block_seconds", "warm_seconds", "processes", "seed")
# What a contender really ran: under one name a file of the user's may be another thing than the bench's own export.
_RAN = ("provider", "precision", "folded")


@dataclass(frozen=True, slots=True)
class Pair:
    """One row of both runs.

    ratio:  above 1: the second run is faster; None where either is struck
    broken: the second run is struck, where the first is sound
    """

    contender: str
    batch: int
    quantity: str
    ratio: stats.Interval | None
    broken: bool = False

    @property
    def verdict(self) -> str:
        """In a word: what the whole interval says."""
        if self.ratio is None:
            return "not comparable"
        if self.ratio.low > 1:
            return "faster"
        return "slower" if self.ratio.high < 1 else "the same"


@dataclass(frozen=True, slots=True)
class Comparison:
    """pairs: rows that both runs have; only_before, only_after: the others, as contender, batch and quantity."""

    pairs: tuple[Pair, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]


def compare(before: Run, after: Run, *, unlike: bool = False) -> Comparison:
    """Raises GanExportError for runs on unlike machines, of unlike models, files or settings, unless `unlike`.

    Versions and commits may differ: they are what is compared.
    """
    if not unlike and (gaps := differences(before, after)):
        raise GanExportError(f"these runs can't be compared: {'; '.join(gaps)}; --anyway compares them all the same")
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
    """What forbids a comparison, in words."""
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
    """Raises CheckFailedError where a row's whole interval lies below `fail_below`: a regression, and not noise.

    And for every row that the second run lost: not there, struck out, or too short to be compared.
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
