"""What gan-export prints of an export: its proof, its cost, what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_export.cli.say import say, table

if TYPE_CHECKING:
    from gan_export.checkpoint import Source
    from gan_export.pipeline.files import Outcome
    from gan_export.pipeline.publish import Contents, ExportResult, Verification
    from gan_export.recognize.options import ReadOptions
    from gan_export.verification.compare import ParityReport, Quality
    from gan_export.verification.layers import Step

_CONTENTS: Mapping[Contents, str] = {
    "whole": "as they were exported",
    "altered": "NOT as they were exported",
    "unhashed": "no hash of them inside; an older gan-export wrote it",
}


def warn_of_code(source: Source) -> None:
    """On standard error, before anything else is shown of a checkpoint that names what runs code elsewhere."""
    from gan_export.checkpoint import code_warning
    from gan_export.errors import printable

    if source.code:
        say(f"warning: {printable(source.name)} {code_warning(source.code)}", error=True)


def check_source(file: Path, overrides: ReadOptions, strict: bool) -> None:
    """As `warn_of_code` and `--strict`, for a file that other processes will read."""
    from gan_export import checkpoint
    from gan_export.formats import manifest

    if file.exists() and manifest.detect_format(file) == "checkpoint":
        read = checkpoint.read(file, overrides)
        if strict:
            checkpoint.check_strictly(read)
        warn_of_code(read.source)


def print_proof(shipped: ExportResult, title: str) -> None:
    if shipped.report is None:
        say(f"{title}: UNPROVEN HERE, nothing has run what was written. {shipped.unproven}; verify it there.")
    else:
        print_report(shipped.report)
    if budget := shipped.manifest.options.get("error_budget"):
        say(f"its weights are so large that the engine's usual transforms round too much: it keeps to {budget:g}")
    if shipped.quality is not None:
        print_quality(shipped.quality, shipped.manifest.precision)


def print_report(report: ParityReport) -> None:
    info = report.session
    say(f"{info.runtime} {info.version}, {info.provider}, against {report.against}:")
    rows = []
    for row in report.rows:
        values = ("-", "-") if row.max_abs is None else (f"{row.max_abs:.2e}", f"{row.mean_abs:.2e}")
        identical = f"{row.identical:.4%}"
        verdict = "same" if row.passed else "OTHER"
        rows.append((str(row.batch), *values, identical, str(row.byte_step), f"{row.psnr:.1f}", verdict))
    table(("batch", "max error", "mean error", "equal bytes", "largest step", "PSNR dB", "pictures"), rows)


def print_verification(found: Verification, path: Path, precision: str | None = None) -> None:
    """precision: the user's word for what it is judged as."""
    report, manifest = found.report, found.manifest
    print_report(report)
    say(f"judged as {precision or manifest.precision}, by the verifier's own tolerance: {report.tolerance}")
    if found.too_wide:
        say(f"WIDER IN ITS MANIFEST: {manifest.tolerance}")
    say(f"contents: {_CONTENTS[found.contents]}")
    say(f"{path}: {'the same pictures' if report.passed else 'OTHER PICTURES'} as {report.against}")
    if found.too_wide:
        say("FAILED: it states a tolerance that nobody here allowed; --max-error E allows one")


def print_quality(quality: Quality, precision: str) -> None:
    row = quality.row
    frechet = "-" if quality.frechet is None else f"{quality.frechet:.4f}"
    say(f"what {precision} costs, against the checkpoint's own pictures:")
    cells = (str(row.batch), f"{row.psnr:.1f}", f"{row.identical:.2%}", str(row.byte_step), frechet)
    table(("pictures", "PSNR dB", "equal bytes", "largest step", "Frechet distance"), [cells])


def print_steps(steps: Sequence[Step]) -> None:
    first = next((i for i, step in enumerate(steps) if not step.passed), None)
    shown = steps if first is None else steps[: first + 1]
    table(
        ("layer", "max error", "largest value", "values"),
        [(s.layer, f"{s.error:.2e}", f"{s.size:.2e}", "same" if s.passed else "OTHER") for s in shown],
    )
    if first is None:
        say(f"all {len(steps)} layers give the checkpoint's values")
    else:
        say(f"the first layer that is wrong: {steps[first].layer}")


def print_shipped(shipped: ExportResult, source: Path) -> None:
    from gan_export.formats.manifest import report_path

    say(f"wrote {shipped.path} ({size(shipped.size)}) and {report_path(shipped.path).name}")
    if shipped.unproven:
        say(f"  gan-export verify {shipped.path}")
        return
    say(f"  gan-sample {shipped.path} -n 64 --seed 7 -o grid.png")
    say(f"  gan-bench {source} --batch 512")


def outcome_row(outcome: Outcome) -> tuple[str, ...]:
    """One format of `gan-export all`: size, largest error, seconds to load, and the file or why there is none."""
    name, exported = outcome.exporter.name, outcome.result
    if exported is None:
        why = f"failed: {outcome.error}" if outcome.error else f"skipped: {outcome.skipped}"
        return (name, "-", "-", "-", why)
    worst = exported.report.max_abs if exported.report else None
    error = "unproven here" if exported.unproven else "-" if worst is None else f"{worst:.1e}"
    loaded = "-" if exported.loading is None else f"{exported.loading:.2f} s"
    return (name, size(exported.size), error, loaded, str(exported.path))


def print_description(description: Any) -> None:
    table(("", ""), description.rows())
    table(("layer", "gives", "parameters", "MFLOP"), description.layer_rows())


def flat(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
