"""Export, verify, then publish: the target changes only after the new file has generated the same images.

A file that nothing on this system can run is published and reported as not verified.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gan_export import runtimes
from gan_export._lib.budget import Budget, BudgetError, read_json
from gan_export._lib.escape import json_text
from gan_export._lib.fs import atomic_file, atomic_folder, atomic_group, refuse_overwrite, sha256_file, write_text
from gan_export.checkpoint.checkpoint import Checkpoint
from gan_export.checkpoint.exportable import Exportable, PreparedGenerator, known_layers, prepare
from gan_export.errors import CheckFailedError, GanExportError, Topic, printable
from gan_export.exporters.base import Exporter, Options, check_options, expected_references, require_available, write
from gan_export.formats import content, tolerance
from gan_export.formats import manifest as manifests
from gan_export.formats.bounds import FAST, WORST_IMAGE
from gan_export.formats.manifest import Manifest
from gan_export.formats.tolerance import Rule
from gan_export.recognize.options import ReadOptions
from gan_export.runtimes.base import feeds_for
from gan_export.runtimes.base import require_available as require_runtime
from gan_export.runtimes.subprocess_session import RemoteSession, open_remote
from gan_export.verification import batchnorm, compare, layers, run
from gan_export.verification.compare import ParityError, ParityReport, Quality

if TYPE_CHECKING:
    from torch import nn

    from gan_export.graph.signature import Signature

Progress = Callable[[str], None]
Contents = Literal["whole", "altered", "unhashed"]


@dataclass(frozen=True, slots=True)
class ExportResult:
    """An export at `path`.

    size:     bytes of all its files
    report:   its parity; None if this system can't run it
    unproven: the reason why it can't; empty if there is a report
    loading:  seconds from the start of a process to the loaded session, including imports; None without a report
    seconds:  the time for everything, including verification
    quality:  the cost of int8 over many images; None for other precisions
    """

    path: Path
    size: int
    manifest: Manifest
    report: ParityReport | None
    unproven: str
    loading: float | None
    seconds: float
    quality: Quality | None = None


def export(
    generator: Exportable,
    exporter: Exporter,
    target: Path,
    options: Options | None = None,
    *,
    progress: Progress = lambda _: None,
) -> ExportResult:
    """Write `generator` to `target` with `exporter`, load it in its own runtime in a fresh process, compare, publish.

    If that runtime needs another system, the file is published without having been run.  NAME.report.json is written
    next to the target.

    Raises ParityError if the images differ, with `target` unchanged; GanExportError if the generator can't be exported
    or written.
    """
    options = options or Options()
    check_options(exporter, options)
    return export_checked(generator, exporter, target, options, progress=progress)


def export_checked(
    generator: Exportable, exporter: Exporter, target: Path, options: Options, *, progress: Progress = lambda _: None
) -> ExportResult:
    """Export like `export`, with options that `check_options` has accepted."""
    started = time.perf_counter()
    generator = _as_asked(generator, options.recalibrate)
    require_available(exporter)
    found = runtimes.find(exporter.runtime).availability()
    unproven = found.reason if found.elsewhere else ""
    report = loading = quality = None
    generator = prepare(generator)
    expected_references(generator)  # raises if a value is not finite
    sources = generator.source.files
    refuse_overwrite(manifests.report_path(target), sources)
    publish = atomic_folder(target, sources, _is_export(target)) if exporter.folder else atomic_group(target, sources)
    with publish as temporary:
        if unproven:
            progress(f"writing {exporter.title}")
            manifest = write(exporter, generator, temporary, options)
        else:
            manifest, report, loading, quality = run.export_with_fallbacks(
                generator, exporter, temporary, options, progress
            )
            if not report.passed:
                raise ParityError(f"{printable(target.name)}: {_verdict(report)}; nothing was written", report)
            if quality is not None and not quality.passed:
                raise ParityError(
                    f"{printable(target.name)}: 16-bit products give {quality.row.psnr:.1f} dB over "
                    f"{quality.row.batch:,} images and {quality.worst:.1f} dB for the worst, "
                    f"{FAST.psnr:g} and {WORST_IMAGE:g} are needed; nothing was written: leave --arithmetic fast out",
                    report,
                )
        made = _files(temporary if temporary.is_dir() else temporary.parent)
        files, size = [file.name for file in made], sum(file.stat().st_size for file in made)
    write_report(target, manifest, report or unproven, files, quality)
    return ExportResult(target, size, manifest, report, unproven, loading, time.perf_counter() - started, quality)


def export_module(
    module: nn.Module,
    format: str,
    target: Path | str,
    *,
    signature: Signature | None = None,
    options: Options | None = None,
    progress: Progress = lambda _: None,
) -> ExportResult:
    """Export the caller's module to `target` in `format`, like `export`; the module is not changed.

    signature: by default one latent z, whose length is found by trial.
    Raises GanExportError for a format that needs the layers (native, c, safetensors), by name.
    """
    from gan_export import exporters
    from gan_export.checkpoint import user_module

    exporter = exporters.find(format)
    return export(user_module.from_module(module, signature), exporter, Path(target), options, progress=progress)


def _is_export(folder: Path) -> bool:
    """Return whether a folder contains only files that this module wrote, unchanged.

    Raises GanExportError for an export in which something was added or changed, because it may be needed.
    """
    if manifests.detect_format(folder) == "checkpoint":
        return False
    try:
        report = manifests.report_path(folder).read_bytes()
        known = dict(read_json(report, Budget(len(report)))["files"])
    except (OSError, ValueError, KeyError, TypeError, BudgetError):
        return False
    if odd := next((name for name, digest in _hashes(folder)["files"].items() if known.get(name) != digest), None):
        raise GanExportError(
            f"{printable(str(folder))}: {printable(odd)} isn't as it was exported; "
            "move it, or name another with target="
        )
    return True


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of `verify`.

    report:   parity within the verifier's own tolerance
    manifest: the manifest of the file, including its tolerance
    contents: whether the hash of the contents equals that in the manifest; version 1 has none
    too_wide: whether the manifest states a wider tolerance than the verifier's
    """

    report: ParityReport
    manifest: Manifest
    contents: Contents
    too_wide: bool

    @property
    def passed(self) -> bool:
        """Whether the images match and the manifest's tolerance is no wider than the verifier's."""
        return self.report.passed and not self.too_wide


def verify(
    path: Path, checkpoint: Exportable | None = None, *, precision: str | None = None, max_error: float | None = None
) -> Verification:
    """Run the artifact at `path` in its own runtime, in a fresh process, and compare it with `checkpoint`.

    Without a checkpoint, it is compared with the reference images in its manifest, if its contents are unchanged.  The
    tolerance is the verifier's for `precision`, by default the manifest's; max_error, in half ranges, replaces it.
    Raises CheckFailedError for changed contents; GanExportError if it is not our artifact or can't be run.
    """
    kind = manifests.detect_format(path)
    if not path.exists():
        raise GanExportError(f"{printable(str(path))}: no such file")
    if kind == "checkpoint":
        raise GanExportError(f"{printable(str(path))} is not an export; make one with gan-export onnx FILE")
    manifest = manifests.read_manifest(path, kind)
    if manifest is None:
        raise GanExportError(f"{printable(str(path))} contains no manifest of gan-export, so it can't be verified")
    rule = tolerance.rule(
        manifests.format_of(kind), precision or manifest.precision, max_error, arithmetic=manifest.arithmetic
    )
    runtime = next(r for r in runtimes.RUNTIMES if r.format == kind)
    require_runtime(runtime, manifest.options.get("device", "cpu"))
    contents = _contents(path, manifest)
    if checkpoint is not None:
        report = _against_checkpoint(path, manifest, runtime.name, rule, checkpoint)
    elif contents == "altered":
        raise CheckFailedError(
            f"{printable(str(path))}: its contents have changed since the export, so it was not run; "
            "name its checkpoint too to judge what it generates, or export it again",
            topic=Topic.VERIFICATION,
        )
    else:
        report = _against_references(path, manifest, runtime.name, rule)
    allowed = (report.tolerance, Rule(rule.line).given(report.rounding))  # the user's flag may also be narrower
    return Verification(report, manifest, contents, all(map(manifest.tolerance.wider_than, allowed)))


def _contents(path: Path, manifest: Manifest) -> Contents:
    if manifest.version == 1:
        return "unhashed"
    return "whole" if content.sha256(path) == manifest.content_sha256 else "altered"


def _against_checkpoint(
    path: Path, manifest: Manifest, runtime: str, rule: Rule, checkpoint: Exportable
) -> ParityReport:
    as_exported = _as_asked(checkpoint, manifest.options.get("recalibrate"))
    report, _, _ = run.verify(as_exported, runtime, path, manifest, rule, weigh=False)
    if checkpoint.source.sha256 == manifest.source_sha256:
        return report
    return replace(report, against=f"{report.against} (another checkpoint than the one it was made from)")


def _against_references(path: Path, manifest: Manifest, runtime: str, rule: Rule) -> ParityReport:
    signature, n = manifest.signature, manifest.reference_values().images
    device = manifest.options.get("device", "cpu")
    with open_remote(runtime, path, device, signature=manifest.signature) as session:
        if session.info.inputs == "seed":
            made = run.image_source(session, signature)(manifests.REFERENCE_SEED, 0, n)
        else:
            made = session.run(feeds_for(session, signature, signature.feeds(manifests.REFERENCE_SEED, range(n))))
            for port in signature.inputs_of("label"):
                if port.classes > n:  # the labels of the reference images don't include the last
                    _check_last_label(session, signature, port.classes)
        return compare.compare_values(made, manifest, rule, session.info)


def _check_last_label(session: RemoteSession, signature: Signature, classes: int) -> None:
    """Raise GanExportError if the model has fewer labels than its manifest states; more are not detected."""
    try:
        session.run(signature.feeds(manifests.REFERENCE_SEED, [classes - 1]))  # image i has label i mod classes
    except GanExportError as e:
        raise GanExportError(
            f"the manifest states {classes:,} labels, but the model refuses the last of them: {e}; export it again"
        ) from None


def recorded_options(path: Path) -> ReadOptions:
    """Return the flags that the artifact at `path` was exported with; empty if its manifest has none."""
    kind = manifests.detect_format(path)
    manifest = None if kind == "checkpoint" else manifests.read_manifest(path, kind)
    return manifest.overrides() if manifest else ReadOptions()


def compare_layers(path: Path, checkpoint: Checkpoint) -> tuple[layers.Step, ...]:
    """Compare the layers of the ONNX file at `path` with the checkpoint's, in order.

    Raises GanExportError for another kind of file.
    """
    if manifests.detect_format(path) != "onnx":
        raise GanExportError(f"{printable(path.name)} is not an ONNX file; per_layer=True supports only those")
    manifest = manifests.read_manifest(path, "onnx")
    if manifest is None:
        raise GanExportError(f"{printable(str(path))} contains no manifest of gan-export, so it can't be verified")
    if manifest.seeded:
        raise GanExportError(
            f"{printable(path.name)} takes a seed; per_layer=True supports only files that take latents"
        )
    as_exported = _as_asked(checkpoint, manifest.options.get("recalibrate"))
    return layers.compare(
        path,
        known_layers(as_exported, "a comparison by layer"),
        manifest.precision,
        manifest.options.get("static") or layers.BATCH,
    )


def _as_asked(generator: Exportable, recalibrate: int | None) -> Exportable:
    if recalibrate is not None:
        return batchnorm.recalibrated(known_layers(generator, "recalibration"), recalibrate)
    known = generator.generator if isinstance(generator, PreparedGenerator) else generator
    if isinstance(known, Checkpoint):
        batchnorm.refuse_unusable(known)
    return generator


def write_report(
    target: Path, manifest: Manifest, report: ParityReport | str, files: Sequence[str], quality: Quality | None = None
) -> None:
    """Write NAME.report.json next to an artifact: the measurements, and the hash of the bytes.

    files: the names of all its files; report: the parity, or the reason why there is none
    """
    beside = [] if target.is_dir() else [name for name in files if name != target.name]
    others = {name: sha256_file(target.with_name(name)) for name in beside}
    data = {
        "artifact": target.name,
        **_hashes(target),
        **({"beside": others} if others else {}),
        "format": manifest.format,
        "source_sha256": manifest.source_sha256,
        "content_sha256": manifest.content_sha256,
        **({"parity": None, "unproven": report} if isinstance(report, str) else {"parity": report.to_json()}),
        **({"quality": asdict(quality)} if quality else {}),
    }
    with atomic_file(manifests.report_path(target)) as temporary:
        write_text(temporary, json_text(data, indent=2))


def _files(target: Path) -> list[Path]:
    return sorted(file for file in target.rglob("*") if file.is_file()) if target.is_dir() else [target]


def _hashes(target: Path) -> dict[str, Any]:
    if target.is_dir():
        return {"files": {file.relative_to(target).as_posix(): sha256_file(file) for file in _files(target)}}
    return {"sha256": sha256_file(target), "bytes": target.stat().st_size}


def _verdict(report: ParityReport) -> str:
    worst = max(report.rows, key=lambda r: (not r.passed, r.max_abs or 0.0))
    values = "" if worst.max_abs is None else f"off by up to {worst.max_abs:.2g}, "
    return f"it generates other images than the checkpoint ({values}{1 - worst.identical:.2%} of the bytes differ)"
