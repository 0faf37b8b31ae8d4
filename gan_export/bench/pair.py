"""A short measurement of two generators in the runtimes that are installed, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gan_export import runtimes
from gan_export.bench import backends, measure, summary
from gan_export.bench.measure import Report
from gan_export.bench.plan import Plan
from gan_export.bench.target import sort_files
from gan_export.errors import GanExportError

USUAL = ("native", "onnxruntime", "openvino", "torchscript", "eager-folded")
BATCH = 64
_ROUNDS = 4
_BLOCK_SECONDS = 0.1
_WARM_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Speeds:
    """Images per second of two generators in one runtime; None with the reason in `why` if one wasn't measured."""

    runtime: str
    title: str
    first: float | None
    second: float | None
    why: str = ""


def available(names: Sequence[str]) -> tuple[str, ...]:
    """Return the runtimes among `names` that are installed here."""
    return tuple(n for n in names if runtimes.find(backends.find(n).runtime).availability("cpu").ok)


def compare(
    first: Path, second: Path, names: Sequence[str], *, threads: int | None = None, report: Report = lambda _: None
) -> list[Speeds]:
    """Measure two checkpoints on the CPU, BATCH images per call, in each of `names`, and verify the images.

    threads: of every runtime, by default as many as this process may use
    These are seconds of measuring, not minutes: for a figure to publish, use gan-bench on a quiet machine.
    """
    plan = Plan(
        batches=(BATCH,), runtimes=tuple(names), device="cpu", threads=threads, rounds=_ROUNDS,
        block_seconds=_BLOCK_SECONDS, warm_seconds=_WARM_SECONDS, roofline=False,
    )  # fmt: skip
    rates: list[dict[str, float]] = []
    reasons: dict[str, str] = {}
    for file in (first, second):
        try:
            run = measure.run(plan, sort_files([file]), report)
        except GanExportError as e:
            rates.append({})
            reasons |= {name: reasons.get(name, str(e)) for name in names}
            continue
        found = summary.lines(run)
        rates.append({line.entry.contender: line.rate.value for line in found if line.rate is not None})
        reasons |= {a.contender: a.reason for a in run.absent}
        reasons |= {line.entry.contender: line.verdict for line in found if line.verdict}
    return [
        Speeds(name, backends.find(name).title, rates[0].get(name), rates[1].get(name), reasons.get(name, ""))
        for name in names
    ]
