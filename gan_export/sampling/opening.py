"""Open a generator: any export or checkpoint, in the runtime that takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gan_export.errors import GanExportError, printable
from gan_export.formats import manifest as manifests
from gan_export.formats.manifest import Manifest
from gan_export.graph.reach import reach_of
from gan_export.recognize.options import Match, ReadOptions
from gan_export.runtimes import RUNTIMES
from gan_export.runtimes import find as find_runtime
from gan_export.runtimes.base import Session, hold_to
from gan_export.runtimes.native import NativeRuntime
from gan_export.sampling.generator import Generator


@dataclass(frozen=True, slots=True)
class Opening:
    """The way in which a generator was opened, with which other parts of the same file are opened too."""

    path: Path
    kind: str
    settings: Mapping[str, Any]

    def open(self, path: Path, options: ReadOptions | None) -> Generator:
        """Open a file in the same runtime, on the same device."""
        return open_generator(path, options, by_evidence=False, **self.settings)


MOST_THREADS = 1024  # more would only be waited for: a runtime starts them all


def open_generator(
    path: Path,
    overrides: ReadOptions | None = None,
    *,
    runtime: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    max_memory: int = 0,
    latent_scale: float = 1.0,
    strict: bool = False,
    by_evidence: bool = True,
) -> Generator:
    """Load a checkpoint or an export, detected by content, in `runtime` or in the first that takes its kind.

    max_memory: bound in bytes of the C engine's transformed weights and scratch memory, 0 for none
    strict:     as `checkpoint.check_strictly`; by_evidence: as `checkpoint.read`
    Raises GanExportError for a file that no runtime takes, or a runtime that takes another kind.
    """
    if not 0.0 <= latent_scale <= 1.0:
        raise GanExportError(f"latent_scale={latent_scale}: must be 0 (the mean image) to 1 (as trained)")
    found = opened(
        path, overrides, runtime=runtime, device=device, threads=threads, max_memory=max_memory, strict=strict,
        by_evidence=by_evidence,
    )  # fmt: skip
    settings = {"runtime": runtime, "device": device, "threads": threads, "max_memory": max_memory}
    opening = Opening(path, manifests.detect_format(path), settings)
    signature = replace(found.signature, batch=None)
    return replace(found, signature=signature, latent_scale=latent_scale, opening=opening)


def opened(
    path: Path,
    overrides: ReadOptions | None = None,
    *,
    runtime: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    max_memory: int = 0,
    strict: bool = False,
    by_evidence: bool = True,
) -> Generator:
    """Load a checkpoint or an artifact of any signature, as `open_generator` does, with its own signature."""
    warnings: tuple[str, ...] = ()
    reading: Match | None = None
    if not path.exists():
        raise GanExportError(f"{printable(str(path))}: no such file")
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise GanExportError(f"threads={threads}: must be 1 to {MOST_THREADS}")
    overrides = overrides or ReadOptions()
    kind = manifests.detect_format(path)
    chosen = find_runtime(runtime) if runtime else next(r for r in RUNTIMES if r.format == kind)
    if chosen.format != kind:
        takes = ", ".join(r.name for r in RUNTIMES if r.format == kind)
        raise GanExportError(
            f"{chosen.name} can't run {printable(path.name)}, which is of the kind {kind}; use {takes}"
        )
    if max_memory:
        if not isinstance(chosen, NativeRuntime):
            raise GanExportError(f"max_memory {max_memory}: only the C engine has a bound, and it runs .gan files")
        chosen = replace(chosen, max_memory=max_memory)
    if kind == "checkpoint":
        from gan_export import checkpoint
        from gan_export.runtimes.eager import CheckpointRuntime

        assert isinstance(chosen, CheckpointRuntime)
        read = checkpoint.read(path, overrides, by_evidence=by_evidence)
        overrides = read.overrides
        if strict:
            checkpoint.check_strictly(read)
        if read.source.code:
            warnings = (f"{printable(read.source.name)} {checkpoint.code_warning(read.source.code)}",)
        stated, files, reading, reach = read.signature, read.source.files, read.reading, reach_of(read.spec)
        session: Session = chosen.open(read, device=device, threads=threads)
    else:
        if overrides != ReadOptions():
            raise GanExportError(
                f"{printable(path.name)} is an export, whose settings are fixed: leave out {overrides}"
            )
        manifest = _manifest(path, kind)
        stated, files, reach = manifest.signature, tuple(manifests.files(path).values()), manifest.reach
        session = chosen.load(path, device=device, threads=threads)
    try:
        hold_to(session, stated)
    except BaseException as e:
        session.close()
        if isinstance(e, GanExportError):
            raise GanExportError(f"{printable(str(path))}: {e}") from None
        raise
    return Generator(stated, session, warnings=warnings, files=files, reading=reading, overrides=overrides, reach=reach)


def _manifest(path: Path, kind: str) -> Manifest:
    manifest = manifests.read_manifest(path, kind)
    if manifest is None:
        raise GanExportError(
            f"{printable(str(path))} contains no manifest of gan-export, so its latents are unknown; "
            "export the checkpoint with gan-export, or run the file in its own runtime"
        )
    return manifest
