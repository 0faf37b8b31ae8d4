"""The output of gan-export for an export: parity, cost, next steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_export.cli.say import say, suggest, table, warn

if TYPE_CHECKING:
    from gan_export.checkpoint import Checkpoint, Source
    from gan_export.graph.signature import Signature
    from gan_export.pipeline.files import Outcome
    from gan_export.pipeline.publish import Contents, ExportResult, Verification
    from gan_export.recognize.options import Match, ReadOptions
    from gan_export.verification.compare import ParityReport, Quality
    from gan_export.verification.layers import Step

_MOST_AT_512 = 3 * 64 * 64  # values of an image of which a benchmark in batches of 512 is suggested
_CONTENTS: Mapping[Contents, str] = {
    "whole": "unchanged since the export",
    "altered": "CHANGED since the export",
    "unhashed": "not hashed; an older gan-export wrote it",
}


def warn_of_code(source: Source) -> None:
    """Warn on standard error about a checkpoint that names code to run."""
    from gan_export.checkpoint import code_warning
    from gan_export.errors import printable

    if source.code:
        say(f"warning: {printable(source.name)} {code_warning(source.code)}", error=True)


def print_reading(reading: Match) -> None:
    """Print to standard error what evidence settled and what was assumed, a line each with the flag."""
    from gan_export.checkpoint.summary import reading_rows
    from gan_export.errors import printable

    for grade, text in reading_rows(reading):
        say(f"{grade}: {printable(text, limit=500)}", error=True)


def print_unsettled(reading: Match) -> None:
    """Print, as the last line, what of a reading may be otherwise."""
    from gan_export.checkpoint.summary import unsettled_line
    from gan_export.errors import printable

    if line := unsettled_line(reading):
        warn(printable(line, limit=1000))


def print_how_read(reading: Match | None) -> None:
    """Print to standard error how a checkpoint was read, as the last lines; nothing for an export."""
    if reading is not None:
        print_reading(reading)
        print_unsettled(reading)


def check_source(file: Path, overrides: ReadOptions, strict: bool, *, by_evidence: bool = True) -> Checkpoint | None:
    """Apply `warn_of_code` and `--strict` to a file that other processes will read; return it if it is a checkpoint."""
    from gan_export import checkpoint
    from gan_export.formats import manifest

    if file.exists() and manifest.detect_format(file) == "checkpoint":
        read = checkpoint.read(file, overrides, by_evidence=by_evidence)
        if strict:
            checkpoint.check_strictly(read)
        warn_of_code(read.source)
        return read
    return None


def print_proof(shipped: ExportResult, title: str) -> None:
    if shipped.report is None:
        say(f"{title}: NOT VERIFIED, because nothing here can run it. {shipped.unproven}; verify it there.")
    else:
        print_report(shipped.report)
    if budget := shipped.manifest.options.get("error_budget"):
        why = "to stay close enough" if shipped.manifest.arithmetic == "fast" else "its weights are large, so"
        say(f"{why} the engine uses only transforms with a rounding error of at most {budget:g}")
    if shipped.quality is not None:
        fast = shipped.manifest.arithmetic == "fast"
        print_quality(shipped.quality, "16-bit products" if fast else shipped.manifest.precision)


def print_report(report: ParityReport) -> None:
    info = report.session
    say(f"{info.runtime} {info.version}, {info.provider}, against {report.against}:")
    sized = len({row.shape for row in report.rows}) > 1
    rows = []
    for row in report.rows:
        size = ("x".join(map(str, row.shape)),) if sized else ()
        values = ("-", "-") if row.max_abs is None else (f"{row.max_abs:.2e}", f"{row.mean_abs:.2e}")
        identical = f"{row.identical:.4%}"
        verdict = "match" if row.passed else "MISMATCH"
        rows.append((str(row.batch), *size, *values, identical, str(row.byte_step), f"{row.psnr:.1f}", verdict))
    errors = ("max error", "mean error", "identical bytes", "max byte diff", "PSNR dB", "result")
    table(("batch", *(("output",) if sized else ()), *errors), rows)


def print_verification(found: Verification, path: Path, precision: str | None = None) -> None:
    """Print the result of a verification.

    precision: the precision that the user chose for the tolerance
    """
    report, manifest = found.report, found.manifest
    print_report(report)
    say(f"judged as {precision or manifest.precision}, by the verifier's own tolerance: {report.tolerance}")
    if found.too_wide:
        say(f"WIDER TOLERANCE IN ITS MANIFEST: {manifest.tolerance}")
    say(f"contents: {_CONTENTS[found.contents]}")
    say(f"{path}: {'matches' if report.passed else 'DOES NOT MATCH'} {report.against}")
    if found.too_wide:
        say("FAILED: its manifest states a wider tolerance than the verifier allows; --max-error E allows more")


def print_quality(quality: Quality, precision: str) -> None:
    row = quality.row
    frechet = "-" if quality.frechet is None else f"{quality.frechet:.4f}"
    say(f"cost of {precision}, compared with the checkpoint's own images:")
    cells = (str(row.batch), f"{row.psnr:.1f}", f"{row.identical:.2%}", str(row.byte_step))
    if quality.worst is not None:
        columns = ("images", "PSNR dB", "identical bytes", "max byte diff", "PSNR of the worst")
        table(columns, [(*cells, f"{quality.worst:.1f}")])
        return
    table(("images", "PSNR dB", "identical bytes", "max byte diff", "Frechet distance"), [(*cells, frechet)])


def print_steps(steps: Sequence[Step]) -> None:
    first = next((i for i, step in enumerate(steps) if not step.passed), None)
    shown = steps if first is None else steps[: first + 1]
    table(
        ("layer", "max error", "largest value", "result"),
        [(s.layer, f"{s.error:.2e}", f"{s.size:.2e}", "match" if s.passed else "MISMATCH") for s in shown],
    )
    if first is None:
        say(f"all {len(steps)} layers match the checkpoint")
    else:
        say(f"first wrong layer: {steps[first].layer}")


def print_shipped(shipped: ExportResult, source: Path | None) -> None:
    from gan_export.formats.manifest import report_path

    say(f"wrote {shipped.path} ({size(shipped.size)}) and {report_path(shipped.path).name}")
    print_next(shipped, source)


def print_next(shipped: ExportResult, source: Path | None) -> None:
    """Print the next sensible commands for an export.

    source: the checkpoint, if it is read without flags; otherwise the export itself is measured
    """
    if shipped.unproven:
        suggest("gan-export", "verify", shipped.path)
        return
    signature = shipped.manifest.signature
    suggest_use(shipped.path, signature)
    if signature.outputs[0].kind == "image" and signature.is_sampled and not _takes_w(signature):
        (shape, *_) = signature.output_shapes(1).values()
        batch = 512 if math.prod(shape) <= _MOST_AT_512 else 8
        suggest("gan-bench", source or shipped.path, "--batch", batch)


def suggest_use(export: Path, signature: Signature) -> None:
    """Print the command that generates an image with an export, or that shows its inputs if it gives no image."""
    if signature.outputs[0].kind == "volume":
        suggest("gan-sample", export, "--seed", 7, "-o", "volumes.png")
    elif signature.outputs[0].kind == "audio":
        suggest("gan-sample", export, "--seed", 7, "-o", "signal.wav")
    elif signature.outputs[0].kind != "image":
        suggest("gan-export", "inspect", export)
    elif _takes_w(signature):
        suggest("gan-sample", export, "--latents", "projected_w.npz", "-o", "out.png")
    elif signature.is_sampled:
        suggest("gan-sample", export, "-n", 64, "--seed", 7, "-o", "grid.png")
    else:
        suggest("gan-sample", "apply", export, "photo.jpg", "-o", "out.png")


def _takes_w(signature: Signature) -> bool:
    return bool({"w", "ws"} & set(signature.names()[0]))


def outcome_row(outcome: Outcome) -> tuple[str, ...]:
    """Return a row of `gan-export all`: size, largest error, seconds to load, and the file or the reason for none."""
    name, exported = outcome.exporter.name, outcome.result
    if exported is None:
        why = f"failed: {outcome.error}" if outcome.error else f"skipped: {outcome.skipped}"
        return (name, "-", "-", "-", why)
    worst = exported.report.max_abs if exported.report else None
    error = "not verified" if exported.unproven else "-" if worst is None else f"{worst:.1e}"
    loaded = "-" if exported.loading is None else f"{exported.loading:.2f} s"
    return (name, size(exported.size), error, loaded, str(exported.path))


def print_description(description: Any) -> None:
    table(("", ""), description.rows())
    table(("layer", "output", "parameters", "MFLOP"), description.layer_rows())


def flat(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
