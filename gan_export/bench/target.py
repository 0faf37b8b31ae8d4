"""The generator that is measured: its files, the file of each backend, and the images that it must generate."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from gan_export.errors import GanExportError, Topic, linked, printable
from gan_export.formats import manifest as manifests
from gan_export.formats import tolerance
from gan_export.formats.manifest import Manifest
from gan_export.formats.tolerance import Rounding, Rule
from gan_export.graph import spec as specs
from gan_export.graph.signature import Array, Signature
from gan_export.graph.views import classes_of
from gan_export.recognize.options import ReadOptions
from gan_export.runtimes import exact
from gan_export.runtimes.base import Outputs, SessionInfo
from gan_export.runtimes.subprocess_session import RemoteBound, RemoteSession, open_remote
from gan_export.verification import compare

if TYPE_CHECKING:
    from gan_export.checkpoint import Checkpoint

SEED = manifests.REFERENCE_SEED  # the images stored in manifests are then the first ones of every batch
MOST_COMPARED = 4096  # images of one batch
_SEEDED = " sampler"  # added to the kind of a sampler graph: a file that takes a seed is a kind of its own
NOTHING_SAID = ReadOptions()
T = TypeVar("T")
_PIECE = 64  # images that the reference generates at once


@dataclass(frozen=True, slots=True)
class Source:
    """The user's files by kind: at most one checkpoint with its flags, and exports."""

    checkpoint: Path | None
    artifacts: dict[str, Path]
    overrides: ReadOptions = NOTHING_SAID


@dataclass(frozen=True, slots=True)
class BenchTarget:
    """A generator that can be measured.

    at_work: bytes of one image in the largest layer, input and output together
    sizes: values of the symbolic sizes
    """

    model: Model
    signature: Signature
    checkpoint: Path | None
    artifacts: dict[str, Path]
    at_work: int
    folder: Path
    sizes: Mapping[str, int]

    def file_for(self, contender: Backend, device: str = "cpu") -> Path:
        """Return the file that a backend loads on `device`; export it when it is first used.

        Raises GanExportError if there is neither a file of its kind nor the checkpoint.
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
        """Generate one image."""
        if session.info.inputs == "seed":
            session.bind_draw(SEED, 0, 1)
        else:
            session.run(self.feeds(1))

    def bind(self, session: RemoteSession, count: int) -> RemoteBound:
        """Bind the first `count` images to `session`: their latents, or the seed if it computes its own."""
        if session.info.inputs == "seed":
            return session.bind_draw(SEED, 0, count)
        return session.bind(self.feeds(count))

    def feeds(self, count: int, start: int = 0) -> dict[str, Array]:
        """Return the inputs of images start .. start+count-1."""
        return self.signature.feeds(SEED, range(start, start + count), sizes=self.sizes)

    @property
    def image_bytes(self) -> int:
        """Return the bytes of one image's outputs as float32."""
        return 4 * sum(int(np.prod(port.dims(self.sizes))) for port in self.signature.outputs)


class AccuracyCheck:
    """Compares a backend's images with reference images, which are generated as needed."""

    def __init__(self, subject: BenchTarget, threads: int) -> None:
        self._subject = subject
        self._threads = threads
        self._session: RemoteSession | None = None
        if subject.checkpoint is not None:
            self.against = "eager PyTorch float64 on the CPU"
        else:
            self.against = "the reference images in the file"
        self._exact: dict[str, npt.NDArray[np.float64]] = {}  # (N, 2, ...): exact, and in float32

    def judge(self, outputs: Outputs, rule: Rule) -> Parity:
        """Compare the outputs of a batch, which starts at image 0, by `rule`."""
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
        """Return float64 (N, 2, ...) of the first `count` images, by the names of the outputs."""
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
    """Return the precision of a session's images: the file's own if narrower than float32, else the session's.

    A runtime that computes in float32 with eight-bit weights generates images of that precision, and its row says so.
    """
    stored = _stored(path)
    return info.precision if stored == "fp32" else stored


def rule(path: Path, info: SessionInfo) -> Rule:
    """Return the tolerances for a session: those of its file's format, or torch's if only the session narrows.

    Raises GanExportError for a manifest that names no precision of its format.
    """
    stored, kind = _stored(path), manifests.detect_format(path)
    try:
        fast = "fast" if info.precision == "int16" else "float32"
        of_file = tolerance.rule(manifests.format_of(kind), stored, arithmetic=fast)
    except GanExportError as e:
        raise GanExportError(f"{printable(path.name)}: {e}; export it again") from None
    return of_file if stored != "fp32" or info.precision == "fp32" else tolerance.rule("checkpoint", info.precision)


def _stored(path: Path) -> str:
    manifest = _manifest(path)
    return manifest.precision if manifest else "fp32"


def sort_files(files: Sequence[Path], overrides: ReadOptions = NOTHING_SAID) -> Source:
    """Sort files by kind; raise GanExportError for a missing file, and for two files of one kind."""
    found: dict[str, Path] = {}
    for path in files:
        if not path.exists():
            raise GanExportError(f"{printable(str(path))}: no such file")
        kind: str = manifests.detect_format(path)
        kind = "checkpoint" if kind == "safetensors" else kind  # every backend can start from these weights
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
    """Return the flags that these exports were made with; the default if no export has a manifest."""
    return _agreed(files, Manifest.overrides, "flags", lambda stated: f"with {str(stated) or 'none'}") or NOTHING_SAID


@linked(Topic.BENCH_FILES)
def _agreed(files: Iterable[Path], get: Callable[[Manifest], T], what: str, shown: Callable[[T], str]) -> T | None:
    """Return the value that the manifests of `files` have in common; None if no file has a manifest.

    Raises GanExportError if two manifests differ: the files are exports of different generators.
    """
    stated = {path: get(manifest) for path in files if (manifest := _manifest(path)) is not None}
    if len(set(map(repr, stated.values()))) > 1:
        each = ", ".join(f"{printable(path.name)} {printable(shown(value), 200)}" for path, value in stated.items())
        raise GanExportError(f"these were exported with different {what} ({each}); bench one generator at a time")
    return next(iter(stated.values()), None)


def idle(source: Source, taking: Sequence[Backend]) -> dict[str, Path]:
    """Return the named files that none of the backends `taking` runs, by kind."""
    run = {_runs(contender) for contender in taking}
    return {kind: path for kind, path in source.artifacts.items() if kind not in run}


def runner(kind: str, path: Path) -> Backend:
    """Return the backend that runs the user's own file of a kind; raise GanExportError if there is none."""
    for contender in backends.BACKENDS:
        if _runs(contender) == kind:
            return contender
    raise GanExportError(f"{printable(path.name)} is a {kind} file, which gan-bench can't run; leave it out")


def _runs(contender: Backend) -> str:
    """Return the kind of the user's own files that a backend runs; empty if it runs none."""
    seeded = contender.options == backends.SEEDED
    if contender.export is None or (contender.options and not seeded):
        return ""
    return runtimes.find(contender.runtime).format + (_SEEDED if seeded else "")


@linked(Topic.BENCH_FILES)
def from_files(source: Source, folder: Path) -> BenchTarget:
    """Return the target for the user's files.

    An export without its checkpoint is compared with the reference images that it contains.
    """
    if source.checkpoint is not None:
        from gan_export import checkpoint

        return _of_checkpoint(source.checkpoint, checkpoint.read(source.checkpoint, source.overrides), source, folder)
    path = next(iter(source.artifacts.values()))
    if source.overrides != NOTHING_SAID:
        raise GanExportError(
            f"{printable(path.name)} is an export, in which the settings of the checkpoint are fixed; "
            "leave the flag out, or name the checkpoint too"
        )
    manifest = _manifest(path)
    if manifest is None:
        raise GanExportError(
            f"{printable(path.name)} contains no reference images, so its images can't be verified; "
            "name the checkpoint it was made from too"
        )
    sizes = manifest.signature.usual_sizes()
    model = _model(path.name, manifest.arch, manifest.signature, manifest.source_sha256, spec=None, sizes=sizes)
    return BenchTarget(model, manifest.signature, None, source.artifacts, 0, folder, sizes)


def built_in(name: str, folder: Path) -> BenchTarget:
    """Write a built-in generator as a checkpoint into `folder`, and return its target."""
    from gan_export import checkpoint

    path = folder / f"{name}.pth"
    model = models.find(name)
    models.write_checkpoint(model, path)
    return _of_checkpoint(path, checkpoint.read(path), Source(path, {}), folder, built_in=model)


def _of_checkpoint(
    path: Path, read: Checkpoint, source: Source, folder: Path, *, built_in: models.BuiltInGenerator | None = None
) -> BenchTarget:
    for file in source.artifacts.values():
        manifest = _manifest(file)
        if manifest is not None and manifest.source_sha256 != read.source.sha256:
            raise GanExportError(
                f"{printable(file.name)} was made from another checkpoint than {printable(path.name)}; name its own"
            )
    name, size = (built_in.name, built_in.size) if built_in else (path.name, None)
    sizes = dict(zip(read.signature.sizes, size, strict=True)) if size else read.signature.usual_sizes()
    model = _model(name, read.arch, read.signature, read.source.sha256, spec=read.spec, sizes=sizes)
    latent_count = _agreed(
        source.artifacts.values(),
        lambda manifest: manifest.options.get("recalibrate"),
        "recalibrate=",
        lambda count: f"with {count}" if count else "without",
    )
    if latent_count is not None or read.overrides != NOTHING_SAID:  # workers read without evidence
        path = _as_said(read, latent_count, folder)
    at_work = max(_traffic(read.spec, sizes).values())
    return BenchTarget(model, read.signature, path, source.artifacts, at_work, folder, sizes)


def _as_said(read: Checkpoint, recalibrate: int | None, folder: Path) -> Path:
    """Write the checkpoint, with flags and recalibration applied, to a file that each worker can read without them."""
    from gan_export import exporters
    from gan_export.exporters.base import Options, write
    from gan_export.verification import batchnorm

    exporter = exporters.find("safetensors")
    target = folder / f"checkpoint{exporter.suffix}"
    write(exporter, batchnorm.recalibrated(read, recalibrate) if recalibrate is not None else read, target, Options())
    return target


def _model(
    name: str,
    arch: str,
    signature: Signature,
    source: str,
    *,
    spec: specs.GeneratorSpec | None,
    sizes: Mapping[str, int],
) -> Model:
    flops = moved = weights = None
    latents = sum(int(np.prod(port.dims(sizes))) for port in signature.inputs_of("latent", "style"))
    if spec is not None:
        flops = sum(specs.flops(spec, sizes).values())
        moved = sum(_traffic(spec, sizes).values())
        weights = 4 * sum(int(np.prod(shape)) for shape in spec.parameters().values())
    return Model(
        name=printable(name),
        arch=arch,
        nz=latents,
        classes=classes_of(signature),
        image=signature.outputs[0].dims(sizes),
        source=source,
        flops=flops,
        bytes=moved,
        weights=weights,
    )


def _traffic(spec: specs.GeneratorSpec, sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the bytes of one image that each layer reads and writes in float32; weights are not counted."""
    shapes = specs.infer_shapes(spec, sizes)
    size: Callable[[str], int] = lambda name: 4 * int(np.prod(shapes[name]))  # noqa: E731
    return {la.name: size(la.name) + sum(size(i) for i in la.inputs) for la in spec.layers}


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
                warnings.simplefilter("ignore")  # torch warns that torch.jit and the ONNX exporter will change
                read = checkpoint.read(checkpoint_path, by_evidence=False)
                if isinstance(exporter, PrecisionFallbacks):
                    # the result isn't needed: the bench compares the images itself
                    run.export_with_fallbacks(read, exporter, target, Options(**options), weigh=False)
                else:
                    # an exception of its libraries excludes this backend only
                    exporter.write(read, target, Options(**options))
        except BaseException:  # no other backend may load an incomplete file
            if target.is_dir():
                shutil.rmtree(target)
            target.unlink(missing_ok=True)
            raise
    return target


def _first_manifest(subject: BenchTarget) -> Manifest:
    path = next(iter(subject.artifacts.values()))
    manifest = _manifest(path)
    if manifest is None:
        raise GanExportError(f"{printable(path.name)} contains no reference images")
    return manifest


def _manifest(path: Path) -> manifests.Manifest | None:
    kind = manifests.detect_format(path)
    return None if kind == "checkpoint" else manifests.read_manifest(path, kind)


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
