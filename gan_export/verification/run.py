"""Run an export in its own runtime in a fresh process, and compare it with the checkpoint in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gan_export.checkpoint.exportable import Exportable, prepare
from gan_export.errors import GanExportError, printable
from gan_export.exporters.base import Exporter, Options, PrecisionFallbacks, write
from gan_export.formats import tolerance
from gan_export.formats.manifest import Manifest
from gan_export.formats.tolerance import Rule
from gan_export.graph.ports import Port
from gan_export.graph.signature import Signature
from gan_export.runtimes.base import Outputs
from gan_export.runtimes.subprocess_session import RemoteSession, open_remote
from gan_export.verification import compare
from gan_export.verification.compare import ParityReport, Quality

# Share of the tolerance that an error may use while a fallback is left.  Other processors round differently.
_MARGIN = 0.75


class VerifiedExport(NamedTuple):
    """A verified export.

    loading: seconds from the start of a process to the loaded session; quality: the cost of int8 or of fast
    arithmetic, else None
    """

    manifest: Manifest
    report: ParityReport
    loading: float
    quality: Quality | None


def export_with_fallbacks(
    generator: Exportable,
    exporter: Exporter,
    target: Path,
    options: Options,
    progress: Callable[[str], None] = lambda _: None,
    *,
    weigh: bool = True,
) -> VerifiedExport:
    """Write to `target` and verify it; the result may be a failure.  `weigh`: see `verify`.

    If the runtime can trade speed for rounding, uses the first options that are well within the tolerance both on one
    thread, whose batches are the largest, and on the default number of threads.
    """
    generator = prepare(generator)
    attempts = [options, *(exporter.steadier(options) if isinstance(exporter, PrecisionFallbacks) else ())]
    tried: list[VerifiedExport] = []
    for attempt in attempts:
        progress(f"writing {exporter.title}")
        manifest = write(exporter, generator, target, attempt)
        progress(f"comparing {exporter.runtime} with {compare.AGAINST}")
        rule = tolerance.rule(exporter.name, attempt.precision, attempt.max_error, arithmetic=attempt.arithmetic)
        threads = (None, 1) if len(attempts) > 1 else (None,)
        found = [
            VerifiedExport(
                manifest, *verify(generator, exporter.runtime, target, manifest, rule, weigh=weigh, threads=n)
            )
            for n in threads
        ]
        tried.append(max(found, key=_error))
        if _error(tried[-1]) <= (False, _MARGIN * (tried[-1].report.tolerance.max_abs or np.inf)):
            return tried[-1]
    nearest = min(range(len(tried)), key=lambda n: _error(tried[n]))
    if nearest + 1 < len(tried):
        write(exporter, generator, target, attempts[nearest])
    return tried[nearest]


def _error(proven: VerifiedExport) -> tuple[bool, float]:
    """Return a sort key for verified exports, best first."""
    passed = proven.report.passed and (proven.quality is None or proven.quality.passed)
    return not passed, proven.report.max_abs or 0.0


def verify(
    generator: Exportable,
    runtime: str,
    path: Path,
    manifest: Manifest,
    rule: Rule,
    *,
    weigh: bool = True,
    threads: int | None = None,
) -> tuple[ParityReport, float, Quality | None]:
    """Return the report by `rule`, the seconds for loading and, with `weigh`, the cost of int8 or 16-bit products if
    it passed.

    Raises GanExportError if the signature in the file is not that of the checkpoint, or of the file's own model.
    """
    mine, stated = generator.signature, replace(manifest.signature, batch=None)
    if mine != stated:
        raise GanExportError(
            f"{printable(path.name)} states {_ports(stated)}, the checkpoint {_ports(mine)}: they don't belong together"
        )
    wanted = prepare(generator)
    device = manifest.options.get("device", "cpu")
    with open_remote(runtime, path, device, threads, signature=manifest.signature) as session:
        if session.info.inputs == "seed":
            draw = image_source(session, stated)
            report = compare.compare_draws(draw, wanted, stated, rule, session.info)
        else:
            report = compare.compare(session, wanted, stated, rule)
        weigh = weigh and report.passed
        quality = None
        if weigh and manifest.arithmetic == "fast":
            quality = compare.evidence(session, wanted, stated, report.tolerance)
        elif weigh and manifest.precision == "int8" and session.info.inputs == "latents":
            quality = compare.quality(session, wanted, stated, report.tolerance)
        return report, session.seconds_to_load, quality


def image_source(session: RemoteSession, signature: Signature) -> Callable[[int, int, int], Outputs]:
    """Return a function from (seed, start, count) to outputs, for a session that generates its own latents."""
    return lambda seed, start, count: session.draw(seed=seed, start=start, count=count, signature=signature)


def _ports(signature: Signature) -> str:
    """Return inputs and outputs on one line."""

    def text(port: Port) -> str:
        prior = "" if port.prior is None else f" {port.prior}"
        span = "" if port.range is None else f" in [{port.range[0]:g}, {port.range[1]:g}]"
        return f"{port.name} {signature.describe(port)}{prior}{span}" + (f" of {port.classes}" if port.classes else "")

    inputs, outputs = ([text(p) for p in ports] for ports in (signature.inputs, signature.outputs))
    return f"{', '.join(inputs)} to {', '.join(outputs)}"
