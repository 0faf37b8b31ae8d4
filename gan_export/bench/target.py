"""What is measured: a generator as files on disk, a file a contender, and the pictures that they must draw."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from gan_export import runtimes
from gan_export.bench import backends, models
from gan_export.bench.backends import Backend
from gan_export.bench.record import Model, Parity
from gan_export.checkpoint.exportable import ExpectedOutputs
from gan_export.errors import GanExportError, printable
from gan_export.formats import manifest as manifests
from gan_export.formats import tolerance
from gan_export.formats.manifest import Facts, Manifest
from gan_export.formats.tolerance import Rounding, Rule
from gan_export.graph import spec as specs
from gan_export.graph.signature import Array, Signature
from gan_export.recognize.options import ReadOptions
from gan_export.runtimes import exact
from gan_export.runtimes.base import Outputs, SessionInfo
from gan_export.runtimes.subprocess_session import RemoteBound, RemoteSession, open_remote
from gan_export.verification import compare

if TYPE_CHECKING:
    from gan_export.checkpoint import Checkpoint

SEED = manifests.REFERENCE_SEED  # the pictures that manifests carry are then the first ones of every batch
MOST_COMPARED = 4096  # pictures of one batch
_SEEDED = " sampler"  # after an artifact's kind: a file that draws from a seed is another thing to measure
NOTHING_SAID = ReadOptions()
T = TypeVar("T")
_PIECE = 64  # pictures that the reference draws at once


@dataclass(frozen=True, slots=True)
class Source:
    """What the user gave, sorted out: at most one checkpoint, what flags say of it, and artifacts by their kind."""

    checkpoint: Path | None
    artifacts: dict[str, Path]
    overrides: ReadOptions = NOTHING_SAID


@dataclass(frozen=True, slots=True)
class BenchTarget:
    """A generator ready to be measured.

    at_work: bytes of one image in the layer that takes most, input and output together
    """

    model: Model
    signature: Signature
    checkpoint: Path | None
    artifacts: dict[str, Path]
    at_work: int
    folder: Path

    def file_for(self, contender: Backend, device: str = "cpu") -> Path:
        """The file that `contender` loads on `device`; exported into the folder the first time it is asked for.

        Raises GanExportError where neither a named artifact nor the checkpoint serves.
        """
        if contender.export is None:
            if self.checkpoint is None:
                raise GanExportError("needs the checkpoint; name it too")
            return self.checkpoint
        kind = _runs(contender)
        if kind in self.artifacts:
            return self.artifacts[kind]
        if self.checkpoint is None:
            wanted = f"the checkpoint, or a {kind} file" if kind else "the checkpoint"
            raise GanExportError(f"needs {wanted}; name it too")
        return _export(self.checkpoint, contender, device, self.folder)

    def first(self, session: RemoteSession) -> None:
        """Draw one picture."""
        if session.info.inputs == "seed":
            session.bind_draw(SEED, 0, 1)
        else:
            session.run(self.feeds(1))

    def bind(self, session: RemoteSession, count: int) -> RemoteBound:
        """The first `count` images into `session`: their latents, or their seed where it draws its own."""
        if session.info.inputs == "seed":
            return session.bind_draw(SEED, 0, count)
        return session.bind(self.feeds(count))

    def feeds(self, count: int, start: int = 0) -> dict[str, Array]:
        """The inputs of images start .. start+count-1."""
        return self.signature.feeds(SEED, range(start, start + count))

    @property
    def image_bytes(self) -> int:
        """Bytes of one image's outputs as float32."""
        return 4 * manifests.values_of(self.signature)


class AccuracyCheck:
    """Draws the reference images as they are needed, and judges."""

    def __init__(self, subject: BenchTarget, threads: int) -> None:
        self._subject = subject
        self._threads = threads
        self._session: RemoteSession | None = None
        if subject.checkpoint is not None:
            self.against = "eager PyTorch float64 on the CPU"
        else:
            self.against = "the reference images in the file"
        self._exact: dict[str, npt.NDArray[np.float64]] = {}  # (N, 2, ...): exact, and as float32 gives them

    def judge(self, outputs: Outputs, rule: Rule) -> Parity:
        """The outputs of a batch, image 0 first, by `rule`."""
        signature, count = self._subject.signature, len(next(iter(outputs.values())))
        if self._subject.checkpoint is None:
            manifest = _first_manifest(self._subject)
            held = manifest.reference_values()
            held = held.of_first(min(count, held.images))
            allowed = rule.given(Rounding.stated(manifest.rounding))
            first = {name: array[: held.images] for name, array in outputs.items()}
            row = compare.judge_values(first, held, signature, allowed)
        else:
            count = min(count, MOST_COMPARED)
            both = self._first(count)
            expected = ExpectedOutputs(
                {name: array[:, 0] for name, array in both.items()},
                {name: array[:, 1].astype(np.float32) for name, array in both.items()},
            )
            allowed = rule.given(compare.rounding_of([expected], signature))
            first = {name: array[:count] for name, array in outputs.items()}
            row = compare.compare_batch(first, expected.exact, signature, allowed)
        return Parity(
            passed=row.passed,
            against=self.against,
            images=row.batch,
            max_abs=_finite(row.max_abs),
            mean_abs=_finite(row.mean_abs),
            identical=row.identical,
            byte_step=row.byte_step,
            psnr=_finite(row.psnr),
        )

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _first(self, count: int) -> dict[str, npt.NDArray[np.float64]]:
        """float64 (N, 2, ...) of the first `count` images, by the names of the outputs."""
        assert self._subject.checkpoint is not None
        known = len(next(iter(self._exact.values()), ()))
        if count > known:
            if self._session is None:
                path = self._subject.checkpoint
                self._session = open_remote(exact.NAME, path, "cpu", self._threads, registry=exact.REGISTRY)
            pieces = [self._exact] if self._exact else []
            for start in range(known, count, _PIECE):
                pieces.append(self._session.run(self._subject.feeds(min(_PIECE, count - start), start)))
            self._exact = {name: np.concatenate([p[name] for p in pieces]) for name in pieces[0]}
        return {name: array[:count] for name, array in self._exact.items()}


def precision(path: Path, info: SessionInfo) -> str:
    """Of what a session draws with: the file's own if that is narrower than float32, else what the session says.

    A runtime that computes in float32 with weights of eight bits draws what those give: the row bears their name.
    """
    stored = _stored(path)
    return info.precision if stored == "fp32" else stored


def rule(path: Path, info: SessionInfo) -> Rule:
    """What a session is judged by: the line of its file's format, or of torch for what a session itself narrows.

    Raises GanExportError for a manifest that names no precision of its format.
    """
    stored, kind = _stored(path), manifests.detect_format(path)
    try:
        of_file = tolerance.rule(manifests.format_of(kind), stored)
    except GanExportError as e:
        raise GanExportError(f"{printable(path.name)}: {e}; export it again") from None
    return of_file if stored != "fp32" or info.precision == "fp32" else tolerance.rule("checkpoint", info.precision)


def _stored(path: Path) -> str:
    manifest = _manifest(path)
    return manifest.precision if manifest else "fp32"


def sort_files(files: Sequence[Path], overrides: ReadOptions = NOTHING_SAID) -> Source:
    """Raises GanExportError for a file that is missing, and for two of one kind: one generator at a time."""
    found: dict[str, Path] = {}
    for path in files:
        if not path.exists():
            raise GanExportError(f"{printable(str(path))}: no such file")
        kind: str = manifests.detect_format(path)
        kind = "checkpoint" if kind == "safetensors" else kind  # weights, which every contender can start from
        if kind != "checkpoint" and (manifest := manifests.read_manifest(path, kind)) and manifest.seeded:
            kind += _SEEDED
        if kind in found:
            raise GanExportError(
                f"{printable(found[kind].name)} and {printable(path.name)} are both {kind} files; "
                "bench one generator at a time"
            )
        found[kind] = path
    checkpoint = found.pop("checkpoint", None)
    if checkpoint is not None and overrides == NOTHING_SAID:
        overrides = _exported_with(found.values())
    return Source(checkpoint, found, overrides)


def _exported_with(files: Iterable[Path]) -> ReadOptions:
    """The flags that these exports were made with; none where none has a manifest."""
    return (
        _agreed(files, Manifest.overrides, "flags", lambda stated: f"with {stated.flags() or 'none'}") or NOTHING_SAID
    )


def _agreed(files: Iterable[Path], get: Callable[[Manifest], T], what: str, shown: Callable[[T], str]) -> T | None:
    """What the manifests of all of `files` say, None where none has one.

    Raises GanExportError where one says otherwise than the next: they are two generators.
    """
    stated = {path: get(manifest) for path in files if (manifest := _manifest(path)) is not None}
    if len(set(map(repr, stated.values()))) > 1:
        each = ", ".join(f"{printable(path.name)} {printable(shown(value), 200)}" for path, value in stated.items())
        raise GanExportError(f"these were exported with unlike {what} ({each}); bench one generator at a time")
    return next(iter(stated.values()), None)


def idle(source: Source, taking: Sequence[Backend]) -> dict[str, Path]:
    """Those named files that none of `taking` runs, by kind."""
    run = {_runs(contender) for contender in taking}
    return {kind: path for kind, path in source.artifacts.items() if kind not in run}


def runner(kind: str, path: Path) -> Backend:
    """Who runs the user's own file of that kind.  Raises GanExportError where nobody does."""
    for contender in backends.BACKENDS:
        if _runs(contender) == kind:
            return contender
    raise GanExportError(f"{printable(path.name)} is a {kind} file, which gan-bench can't run; leave it out")


def _runs(contender: Backend) -> str:
    """The kind of the user's own files that it takes; empty for one that takes none."""
    seeded = contender.options == backends.SEEDED
    if contender.export is None or (contender.options and not seeded):
        return ""
    return runtimes.find(contender.runtime).format + (_SEEDED if seeded else "")


def from_files(source: Source, folder: Path) -> BenchTarget:
    """Of the user's own files.  An artifact without its checkpoint is judged by the pictures that it carries."""
    if source.checkpoint is not None:
        from gan_export import checkpoint

        return _of_checkpoint(source.checkpoint, checkpoint.read(source.checkpoint, source.overrides), source, folder)
    path = next(iter(source.artifacts.values()))
    if source.overrides != NOTHING_SAID:
        raise GanExportError(
            f"{printable(path.name)} is an export, and what a flag says of a checkpoint is fixed in it; "
            "leave the flag out, or name the checkpoint too"
        )
    manifest = _manifest(path)
    if manifest is None:
        raise GanExportError(
            f"{printable(path.name)} carries no reference pictures, so its speed can't be proven; "
            "name the checkpoint it was made from too"
        )
    model = _model(path.name, manifest.facts, manifest.source_sha256, None)
    return BenchTarget(model, manifest.signature, None, source.artifacts, 0, folder)


def built_in(name: str, folder: Path) -> BenchTarget:
    """A built-in generator, written as a checkpoint into `folder`."""
    from gan_export import checkpoint

    path = folder / f"{name}.pth"
    models.write_checkpoint(models.find(name), path)
    return _of_checkpoint(path, checkpoint.read(path), Source(path, {}), folder, name)


def _of_checkpoint(path: Path, read: Checkpoint, source: Source, folder: Path, name: str | None = None) -> BenchTarget:
    for file in source.artifacts.values():
        manifest = _manifest(file)
        if manifest is not None and manifest.source_sha256 != read.source.sha256:
            raise GanExportError(
                f"{printable(file.name)} was made from another checkpoint than {printable(path.name)}; name its own"
            )
    facts = Facts.of(read.spec)
    model = _model(name or path.name, facts, read.source.sha256, read.spec)
    latent_count = _agreed(
        source.artifacts.values(),
        lambda manifest: manifest.options.get("recalibrate"),
        "--recalibrate",
        lambda count: f"with {count}" if count else "without",
    )
    if latent_count is not None or source.overrides != NOTHING_SAID:
        path = _as_said(read, latent_count, folder)
    return BenchTarget(model, read.signature, path, source.artifacts, _largest_layer(read.spec), folder)


def _as_said(read: Checkpoint, recalibrate: int | None, folder: Path) -> Path:
    """The checkpoint as flags and exports have it, in a file that needs neither: every worker reads it by itself."""
    from gan_export import exporters
    from gan_export.exporters.base import Options, write
    from gan_export.verification import batchnorm

    exporter = exporters.find("safetensors")
    target = folder / f"checkpoint{exporter.suffix}"
    write(exporter, batchnorm.recalibrated(read, recalibrate) if recalibrate is not None else read, target, Options())
    return target


def _model(name: str, facts: Facts, source: str, spec: specs.GeneratorSpec | None) -> Model:
    flops = moved = weights = None
    if spec is not None:
        flops = sum(specs.flops(spec).values())
        moved = sum(_traffic(spec).values())
        weights = 4 * sum(int(np.prod(shape)) for shape in spec.parameters().values())
    return Model(
        name=printable(name),
        arch=facts.arch,
        nz=facts.nz,
        classes=facts.classes,
        image=facts.image,
        source=source,
        flops=flops,
        bytes=moved,
        weights=weights,
    )


def _traffic(spec: specs.GeneratorSpec) -> dict[str, int]:
    """Bytes of one image that each layer reads and writes, float32; weights are shared by the batch and left out."""
    shapes = specs.infer_shapes(spec)
    size: Callable[[str], int] = lambda name: 4 * int(np.prod(shapes[name]))  # noqa: E731
    return {la.name: size(la.name) + sum(size(i) for i in la.inputs) for la in spec.layers}


def _largest_layer(spec: specs.GeneratorSpec) -> int:
    return max(_traffic(spec).values())


def _export(checkpoint_path: Path, contender: Backend, device: str, folder: Path) -> Path:
    from gan_export import checkpoint, exporters
    from gan_export.exporters.base import Options, PrecisionFallbacks, require_available
    from gan_export.verification import run

    exporter = exporters.find(contender.export or "")
    options = contender.options | ({"device": device} if "device" in exporter.takes else {})
    tag = "-".join(str(v) for v in options.values())
    target = folder / f"{exporter.name}{'-' + tag if tag else ''}{exporter.suffix}"
    if not target.exists():
        require_available(exporter)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch announces the future of torch.jit and of the ONNX exporter
                read = checkpoint.read(checkpoint_path)
                if isinstance(exporter, PrecisionFallbacks):
                    run.export_with_fallbacks(
                        read, exporter, target, Options(**options)
                    )  # passed or not: the bench judges itself
                else:
                    exporter.write(read, target, Options(**options))  # whatever its libraries raise makes a failed row
        except BaseException:  # no other contender takes what is half there
            if target.is_dir():
                shutil.rmtree(target)
            target.unlink(missing_ok=True)
            raise
    return target


def _first_manifest(subject: BenchTarget) -> Manifest:
    path = next(iter(subject.artifacts.values()))
    manifest = _manifest(path)
    if manifest is None:
        raise GanExportError(f"{printable(path.name)} carries no reference images")
    return manifest


def _manifest(path: Path) -> manifests.Manifest | None:
    kind = manifests.detect_format(path)
    return None if kind == "checkpoint" else manifests.read_manifest(path, kind)


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
