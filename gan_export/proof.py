"""What was written, run by its own runtime in a fresh process, against the checkpoint in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from gan_export import artifact, parity, tolerance
from gan_export.artifact import Manifest
from gan_export.errors import GanExportError, printable
from gan_export.export.base import Exporter, Options, Steadier, write
from gan_export.images import Bytes
from gan_export.parity import ParityReport, Quality
from gan_export.runtimes.remote import RemoteSession, open_remote
from gan_export.tolerance import Rule

if TYPE_CHECKING:
    from gan_export.checkpoint import Checkpoint

# Of the tolerance: what an error may be where a steadier way is left.  Other processors round otherwise.
_MARGIN = 0.75


class Proven(NamedTuple):
    """loading: seconds from the start of a process to the loaded session; quality: what int8 costs, else None."""

    manifest: Manifest
    report: ParityReport
    loading: float
    quality: Quality | None


def written(
    checkpoint: Checkpoint,
    exporter: Exporter,
    target: Path,
    options: Options,
    progress: Callable[[str], None] = lambda _: None,
) -> Proven:
    """Write to `target`, and prove it: passed or not.

    Where the runtime can trade speed for rounding, the first way that is well within the tolerance on one thread,
    whose batches are the largest, and on as many as it takes by itself.
    """
    attempts = [options, *(exporter.steadier(options) if isinstance(exporter, Steadier) else ())]
    tried: list[Proven] = []
    for attempt in attempts:
        progress(f"writing {exporter.title}")
        manifest = write(exporter, checkpoint, target, attempt)
        progress(f"comparing {exporter.runtime} with {parity.AGAINST}")
        rule = tolerance.rule(exporter.name, attempt.precision, attempt.max_error)
        threads = (None, 1) if len(attempts) > 1 else (None,)
        found = [
            Proven(manifest, *prove(checkpoint, exporter.runtime, target, manifest, rule, threads=n)) for n in threads
        ]
        tried.append(max(found, key=_error))
        if _error(tried[-1]) <= (False, _MARGIN * (tried[-1].report.tolerance.max_abs or np.inf)):
            return tried[-1]
    nearest = min(range(len(tried)), key=lambda n: _error(tried[n]))
    if nearest + 1 < len(tried):
        write(exporter, checkpoint, target, attempts[nearest])
    return tried[nearest]


def _error(proven: Proven) -> tuple[bool, float]:
    """Orders what was proven, best first."""
    return not proven.report.passed, proven.report.max_abs or 0.0


def prove(
    checkpoint: Checkpoint,
    runtime: str,
    path: Path,
    manifest: Manifest,
    rule: Rule,
    *,
    weigh: bool = True,
    threads: int | None = None,
) -> tuple[ParityReport, float, Quality | None]:
    """The report by `rule`, the seconds that loading took, and to `weigh` int8 that is right, what it costs.

    Raises GanExportError if the file states another generator than the checkpoint's, or than its own model.
    """
    facts = manifest.facts
    mine = artifact.Facts.of(checkpoint.spec)
    if (mine.nz, mine.classes, mine.image) != (facts.nz, facts.classes, facts.image):
        raise GanExportError(
            f"{printable(path.name)} draws {facts.image} from {facts.nz} latents, "
            f"the checkpoint {mine.image} from {mine.nz}: they don't belong together"
        )
    if (mine.prior, mine.range) != (facts.prior, facts.range):
        raise GanExportError(
            f"{printable(path.name)} states values in {facts.range} of {facts.prior} latents, "
            f"the checkpoint gives {mine.range} of {mine.prior} ones: they don't belong together"
        )
    wanted = parity.eager_reference(checkpoint)
    device = manifest.options.get("device", "cpu")
    with open_remote(runtime, path, device, threads, facts=facts) as session:
        if session.info.inputs == "seed":
            draw = drawer(session, facts)
            report = parity.compare_draws(draw, wanted, facts, rule, session.info)
        else:
            report = parity.compare(session, wanted, facts, rule)
        costs = weigh and manifest.precision == "int8" and report.passed and session.info.inputs == "latents"
        quality = parity.quality(session, wanted, facts, report.tolerance) if costs else None
        return report, session.seconds_to_load, quality


def drawer(session: RemoteSession, facts: artifact.Facts) -> Callable[[int, int, int], Bytes]:
    """Pictures of (seed, start, count) by a session that draws its own latents."""

    def draw(seed: int, start: int, count: int) -> Bytes:
        return cast(
            Bytes,
            session.draw(seed=seed, start=start, count=count, facts=facts),
        )

    return draw
