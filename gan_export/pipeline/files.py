"""The work behind the commands of `gan-export`, for Python callers: one format, every format, a web page.

`read` loads the generator of a file.  It is called after the options are checked and before anything is written, so
that a caller can report what the reading had to assume.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gan_export import exporters, web
from gan_export._lib import extras
from gan_export.checkpoint import Checkpoint
from gan_export.checkpoint import read as read_checkpoint
from gan_export.checkpoint.exportable import Exportable, prepare
from gan_export.errors import GanExportError, UnavailableError, printable
from gan_export.exporters.base import Exporter, Options, check_options
from gan_export.formats import manifest as manifests
from gan_export.graph.signature import Signature
from gan_export.graph.views import image_of
from gan_export.pipeline import publish, table
from gan_export.pipeline.publish import ExportResult, Progress, Verification
from gan_export.recognize.options import ReadOptions
from gan_export.sampling.styles import mapping_beside


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one format of `export_every_format`.

    result:  None if nothing was written
    skipped: the reason if the format can't be written here
    error:   the error if the export failed
    """

    exporter: Exporter
    result: ExportResult | None = None
    skipped: str = ""
    error: GanExportError | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page in the folder `path`.

    size:         bytes of its files, 0 if nothing was written
    exported:     the exports that it uses, each with its format's title
    verification: the result for a `.gan` file that was given; if it failed, nothing was written
    """

    path: Path
    size: int
    exported: tuple[tuple[str, ExportResult], ...] = ()
    verification: Verification | None = None


@dataclass(frozen=True, slots=True)
class AsExported:
    """The options to read the checkpoint of an artifact with.

    recorded: the options in the artifact's manifest, if they differ from the given ones; used: whether they apply
    """

    options: ReadOptions
    recorded: ReadOptions | None = None

    @property
    def used(self) -> bool:
        return self.options == self.recorded


def export_file(
    file: Path,
    format: str,
    read: Callable[[], Exportable],
    target: Path | None = None,
    options: Options | None = None,
    *,
    progress: Progress = lambda _: None,
) -> tuple[Exporter, ExportResult]:
    """Export the generator that `read` loads from `file` to `target`, or to `default_target`.

    Raises the errors of `publish.export`.
    """
    exporter, options = exporters.find(format), options or Options()
    check_options(exporter, options)
    require_libraries(exporter)
    generator = read()
    suffix = f".sampler{exporter.suffix}" if options.sampler else exporter.suffix
    return exporter, publish.export_checked(
        generator, exporter, target or default_target(file, suffix), options, progress=progress
    )


def require_libraries(exporter: Exporter | None = None) -> None:
    """Raise UnavailableError, naming the extras, unless torch, which computes the reference, and others are there."""
    names = ("torch", *(exporter.needs if exporter else ()))
    if reason := extras.missing(*(name for name in dict.fromkeys(names) if name in extras.EXTRAS)):
        raise UnavailableError(f"{exporter.name if exporter else 'an export'} {reason}")


def export_every_format(
    file: Path, checkpoint: Checkpoint, folder: Path, *, progress: Progress = lambda _: None
) -> Iterator[Outcome]:
    """Export a checkpoint to every format that can be written here; yield the outcome of each when it ends."""
    require_libraries()
    if folder.exists() and not folder.is_dir():
        raise GanExportError(f"{printable(str(folder))} is a file; name a folder with target=")
    folder.mkdir(parents=True, exist_ok=True)
    generator = prepare(checkpoint)
    for line in table.lines():
        exporter = line.exporter
        if not line.available:
            yield Outcome(exporter, skipped=line.reason)
            continue
        target = default_target(file, exporter.suffix, folder)
        try:
            yield Outcome(exporter, publish.export(generator, exporter, target, progress=progress))
        except UnavailableError as e:
            yield Outcome(exporter, skipped=str(e))
        except GanExportError as e:
            yield Outcome(exporter, error=e)


def export_page(
    file: Path,
    folder: Path,
    read: Callable[[], Exportable],
    options: Options | None = None,
    read_options: ReadOptions | None = None,
    *,
    onnxruntime_web: Path | None = None,
    progress: Progress = lambda _: None,
) -> Page:
    """Write a page that generates images in the browser from `file`, a checkpoint or a `.gan` file; it is verified.

    onnxruntime_web: the folder of that package, for a page that can use it as well; read_options: those of `read`.
    Raises the errors of `publish.export`, or GanExportError for options that a `.gan` file can't have, and for a
    generator of signals.  A style-based generator becomes two files, its mapping and its synthesis, unless
    onnxruntime_web is given or its input is chosen; of an export in two files, `file` is the synthesis.
    """
    options = options or Options()
    native, onnx = exporters.find("native"), exporters.find("onnx")
    check_options(native, options)
    runtime = web.runtime_files(onnxruntime_web) if onnxruntime_web else ()
    if runtime:
        check_options(onnx, options)
    if manifests.detect_format(file) == "gan":
        if runtime:
            raise GanExportError(
                f"{file} is an export: onnxruntime_web=True needs the checkpoint, to write ONNX as well"
            )
        if options.precision != "fp32" or (read_options or ReadOptions()) != ReadOptions():
            raise GanExportError(f"{file} is an export: its precision and the settings of its checkpoint are fixed")
        return _page_of_export(file, folder)
    require_libraries(onnx if runtime else native)
    generator = prepare(read())
    _refuse_signals(generator.signature)
    exported: list[tuple[str, ExportResult]] = []

    def put(exporter: Exporter, generator: Exportable = generator, part: str = "") -> Callable[[Path], None]:
        def write(target: Path) -> None:
            result = publish.export_checked(generator, exporter, target, options, progress=progress)
            exported.append((f"{exporter.title}{part}", result))

        return write

    images = bool(generator.signature.inputs_of("image"))
    volumes = generator.signature.outputs[0].kind == "volume"
    if (images or volumes) and runtime:
        what = "volumes" if volumes else "images"
        raise GanExportError(
            f"--onnxruntime-web: the page of a generator of {what} runs on the engine only; leave it out"
        )
    if "input" in generator.grades and not runtime:  # z was taken, of the inputs that a style-based generator may have
        mapping, synthesis = (
            prepare(read_checkpoint(file, generator.overrides.of_part(part))) for part in ("mapping", "synthesis")
        )
        put_mapping = put(native, mapping, ", the mapping")
        size = web.write_site(folder, put(native, synthesis, ", the synthesis"), put_mapping=put_mapping)
        return Page(folder, size, tuple(exported))
    _refuse_values(generator.signature, file)
    size = web.write_site(folder, put(native), web.Onnx(put(onnx), runtime) if runtime else None, takes_images=images)
    return Page(folder, size, tuple(exported))


def _page_of_export(file: Path, folder: Path) -> Page:
    """Write a page of a `.gan` file, and of the mapping beside it, unless one of them fails its verification."""
    manifest = manifests.read_manifest(file, "gan")
    images, mapping = False, mapping_beside(file)
    if manifest is not None:
        _refuse_signals(manifest.signature)
        images = bool(manifest.signature.inputs_of("image"))
        if mapping is None:
            _refuse_values(manifest.signature, file)
    found = publish.verify(file)
    if found.passed and mapping is not None:
        found = publish.verify(mapping)
    if not found.passed:
        return Page(folder, 0, verification=found)
    put_mapping = _copied(mapping) if mapping is not None else None
    size = web.write_site(folder, _copied(file), put_mapping=put_mapping, takes_images=images)
    return Page(folder, size, verification=found)


def _copied(file: Path) -> web.Put:
    return lambda target: shutil.copyfile(file, target)


def _refuse_values(signature: Signature, file: Path) -> None:
    """Raise GanExportError for a generator that starts from values, which no seed gives."""
    if values := signature.inputs_of("values"):
        raise GanExportError(
            f"{printable(file.name)} starts from {values[0].name}, which a page can't draw from a seed: leave input= "
            "out, or give the synthesis of an export with split=True, with its mapping beside it"
        )


def _refuse_signals(signature: Signature) -> None:
    """Raise GanExportError unless a page can show what comes out: images or volumes."""
    if signature.outputs[0].kind != "volume":
        image_of(signature)


def options_as_exported(artifact: Path, checkpoint: Path, given: ReadOptions) -> AsExported:
    """Return the options to read `checkpoint` with: `given`, or if none are given those of the artifact's manifest."""
    recorded = publish.recorded_options(artifact) if artifact.exists() else ReadOptions()
    if recorded in (given, ReadOptions()) or manifests.detect_format(checkpoint) == "safetensors":
        return AsExported(given)  # safetensors has its layers inside
    return AsExported(recorded if given == ReadOptions() else given, recorded)


def default_target(file: Path, suffix: str, folder: Path | None = None) -> Path:
    """Return the default path of an export of `file`: its stem, in `folder` or its own; never a checkpoint's path."""
    if folder is None:
        folder = file.parent if file.is_file() else Path()
    stem = file.stem if file.is_file() else file.resolve().name or "generator"
    target = folder / f"{stem}{suffix}"
    return folder / f"{stem}.exported{suffix}" if _is_wanted(target, file) else target


def _is_wanted(target: Path, file: Path) -> bool:
    """Return whether `target` is `file` or another checkpoint, which only a name given by the user may replace."""
    return target.is_file() and (target.samefile(file) or manifests.detect_format(target) == "checkpoint")
