"""Seed -> pictures -> a file: any generator file, in batches, in constant memory, whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from gan_export import images, latents
from gan_export._lib.fs import atomic_file, sync_filesystem
from gan_export.errors import GanExportError, printable
from gan_export.formats import manifest as manifests
from gan_export.formats.manifest import Facts, Manifest
from gan_export.graph.signature import Signature
from gan_export.recognize.options import ReadOptions
from gan_export.runtimes import RUNTIMES
from gan_export.runtimes import find as find_runtime
from gan_export.runtimes.base import Outputs, SamplesFromSeed, Session, check_outputs, hold_to

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Label = int | Literal["all", "random"]
BATCH = 64
_GRID_PIXELS = 1 << 28


@dataclass(frozen=True, slots=True)
class Generator:
    """A loaded generator: what it is, and the session that draws from it."""

    facts: Facts
    session: Session
    psi: float = 1.0  # latents are shrunk by it: nearer to the mean picture, and less varied
    warnings: tuple[str, ...] = ()  # of what the file names, if it is a checkpoint

    @property
    def signature(self) -> Signature:
        return self.facts.signature()

    def bytes(self, z: Floats, labels: Labels | None = None) -> Bytes:
        """Pictures of latents (N, nz) as uint8 (N, H, W, C)."""
        feeds: dict[str, Any] = {"z": z} if labels is None else {"z": z, "label": labels}
        return self._first(self.session.run(self.signature.check(feeds)), len(z))

    def draw(self, seed: int, start: int, count: int, label: Label = "random") -> Bytes:
        """Images start .. start+count-1 of `seed` as uint8 (N, H, W, C): the same in every runtime and batch."""
        return self.draw_labelled(seed, start, count, choose_labels(self.facts, label, seed, start, count))

    def draw_labelled(self, seed: int, start: int, count: int, labels: Labels | None) -> Bytes:
        """As `draw`, with the labels (N,) at hand; None for a generator without classes."""
        if self.psi == 1.0 and isinstance(self.session, SamplesFromSeed):
            return self._first(
                {self.signature.outputs[0].name: self.session.draw_bytes(seed, start, count, labels)}, count
            )
        z = latents.draw(seed, start, count, self.facts.nz, self.facts.prior)
        return self.bytes(z if self.psi == 1.0 else z * np.float32(self.psi), labels)

    def _first(self, outputs: Outputs, count: int) -> Bytes:
        """The first output as bytes, of the shape that the file states."""
        as_bytes = self.signature.to_bytes(outputs)
        check_outputs(as_bytes, count, self.signature.as_bytes(), {})
        return as_bytes[self.signature.outputs[0].name]


class Sink(Protocol):
    """Takes pictures in order of their index."""

    def put(self, pictures: Bytes) -> None: ...


@contextlib.contextmanager
def open_generator(
    path: Path,
    overrides: ReadOptions | None = None,
    *,
    runtime: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    psi: float = 1.0,
    strict: bool = False,
) -> Iterator[Generator]:
    """A checkpoint or an artifact, told apart by content, loaded in `runtime` or the first that takes its kind.

    strict: as `checkpoint.check_strictly`.  Raises GanExportError for a file that none takes, or a runtime that takes
    another kind.
    """
    warnings: tuple[str, ...] = ()
    if not path.exists():
        raise GanExportError(f"{printable(str(path))}: no such file")
    if not 0.0 <= psi <= 1.0:
        raise GanExportError(f"psi {psi}: 0 (the mean picture) to 1 (as trained) are possible")
    overrides = overrides or ReadOptions()
    kind = manifests.detect_format(path)
    chosen = find_runtime(runtime) if runtime else next(r for r in RUNTIMES if r.format == kind)
    if chosen.format != kind:
        takes = ", ".join(r.name for r in RUNTIMES if r.format == kind)
        raise GanExportError(f"{chosen.name} runs no {kind}, which {printable(path.name)} is; use {takes}")
    if kind == "checkpoint":
        from gan_export import checkpoint
        from gan_export.runtimes.eager import CheckpointRuntime

        assert isinstance(chosen, CheckpointRuntime)
        read = checkpoint.read(path, overrides)
        if strict:
            checkpoint.check_strictly(read)
        if read.source.code:
            warnings = (f"{printable(read.source.name)} {checkpoint.code_warning(read.source.code)}",)
        facts, stated = Facts.of(read.spec), read.signature
        session: Session = chosen.open(read, device=device, threads=threads)
    else:
        if overrides != ReadOptions():
            raise GanExportError(
                f"{printable(path.name)} is an export: what a flag says of a checkpoint is fixed in it"
            )
        manifest = _manifest(path, kind)
        facts, stated = manifest.facts, manifest.signature
        session = chosen.load(path, device=device, threads=threads)
    try:
        try:
            hold_to(session, stated)
        except GanExportError as e:
            raise GanExportError(f"{printable(str(path))}: {e}") from None
        yield Generator(facts, session, psi, warnings)
    finally:
        session.close()


def choose_labels(facts: Facts, label: Label, seed: int, start: int, count: int) -> Labels | None:
    """Labels (count,) of the images start ..: one for all, `i mod classes`, or random by the law.

    None for a generator without classes.
    """
    if not facts.classes:
        if label != "random":
            raise GanExportError("this generator has no labels; leave --label out")
        return None
    if label == "random":
        return latents.labels(seed, start, count, facts.classes)
    if label == "all":
        return latents.labels_in_turn(np.uint64(start) + np.arange(count, dtype=np.uint64), facts.classes)
    if not 0 <= label < facts.classes:
        raise GanExportError(f"label {label}: 0 to {facts.classes - 1} are possible, or all")
    return np.full(count, label, np.int64)


def sample(
    generator: Generator,
    target: Path,
    *,
    seed: int,
    start: int,
    count: int,
    batch: int = BATCH,
    label: Label = "random",
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Draw images start .. start+count-1 of `seed` into `target`; `progress` is told of each batch's size.

    By suffix: .png one grid, .npy and .npz (N, H, W, C) uint8, none or a folder that is there: one PNG an image,
    named by its index.  Memory doesn't grow with `count`, a grid's aside.  An interrupt leaves no half file.
    """
    latents.check(seed, start, count)
    if count < 1:
        raise GanExportError(f"{count} pictures: ask for at least one")
    if batch < 1:
        raise GanExportError(f"batch {batch}: at least 1 is needed")
    with open_sink(target, generator.facts, start, count) as sink:
        for first in range(0, count, batch):
            n = min(batch, count - first)
            sink.put(generator.draw(seed, start + first, n, label))
            progress(n)


def sample_latents(
    generator: Generator,
    target: Path,
    z: Floats,
    *,
    batch: int = BATCH,
    label: Label = "all",
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """As `sample`, from the caller's own latents (N, nz)."""
    label = label if generator.facts.classes else "random"
    with open_sink(target, generator.facts, 0, len(z)) as sink:
        for first in range(0, len(z), batch):
            rows = z[first : first + batch]
            sink.put(generator.bytes(rows, choose_labels(generator.facts, label, 0, first, len(rows))))
            progress(len(rows))


def read_latents(path: Path, nz: int) -> Floats:
    """A user's own latents from .npy or a tensor saved by torch, (N, nz) or (N, nz, 1, 1), as float32 (N, nz)."""
    if not path.is_file():
        raise GanExportError(f"{printable(str(path))}: no such file")
    with open(path, "rb") as f:
        is_numpy = f.read(6) == b"\x93NUMPY"
    try:
        values = np.load(path, allow_pickle=False) if is_numpy else _read_tensor(path)
    except (ValueError, OSError, EOFError) as e:
        raise GanExportError(f"{printable(str(path))} holds no array: {printable(str(e))}") from None
    if values.ndim == 4 and values.shape[2:] == (1, 1):
        values = values[:, :, 0, 0]
    if values.ndim != 2 or values.shape[1] != nz or not len(values) or values.dtype.kind not in "fiu":
        raise GanExportError(
            f"{printable(str(path))} holds {values.dtype} {values.shape}; "
            f"this generator takes float (N, {nz}) or (N, {nz}, 1, 1)"
        )
    return np.ascontiguousarray(values, np.float32)


@contextlib.contextmanager
def open_sink(target: Path, facts: Facts, start: int, count: int) -> Iterator[Sink]:
    """What `target` asks for by its suffix; complete at the block's end, gone at an error."""
    channels, height, width = facts.image
    shape = (count, height, width, channels)
    match "" if target.is_dir() else target.suffix.lower():
        case ".png":
            if count * height * width > _GRID_PIXELS:
                raise GanExportError(f"a grid of {count} pictures is too large; name a folder or a .npy with -o")
            with atomic_file(target) as temporary:
                collected: list[Bytes] = []
                yield _Collected(collected)
                images.encode_png(temporary, images.grid(np.concatenate(collected)))
        case ".npy":
            with atomic_file(target) as temporary, open(temporary, "wb") as f:
                f.write(_npy_header(shape))
                yield _Raw(f)
        case ".npz":
            with atomic_file(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
                entry = zipfile.ZipInfo("images.npy")  # dated 1980: the same pictures give the same bytes
                with archive.open(entry, "w", force_zip64=True) as f:
                    f.write(_npy_header(shape))
                    yield _Raw(f)  # type: ignore[arg-type]
        case "":
            yield _Folder(_make_folder(target), start)
            sync_filesystem(target)
        case other:
            raise GanExportError(
                f"{printable(target.name)}: {printable(other)} is not known; "
                "use .png (a grid), .npy, .npz, or a folder's name"
            )


@dataclass(frozen=True, slots=True)
class _Collected:
    parts: list[Bytes]

    def put(self, pictures: Bytes) -> None:
        self.parts.append(pictures)


@dataclass(frozen=True, slots=True)
class _Raw:
    file: io.BufferedWriter

    def put(self, pictures: Bytes) -> None:
        self.file.write(np.ascontiguousarray(pictures).data)


@dataclass(slots=True)
class _Folder:
    """One PNG an image, each whole or not there: two machines may fill one folder from two starts.

    All of them are brought to the disk at the end: a sync a picture would take longer than drawing it.
    """

    folder: Path
    index: int

    def put(self, pictures: Bytes) -> None:
        for picture in pictures:
            target = self.folder / f"{self.index:08d}.png"
            temporary = target.with_name(f".{target.stem}.{os.getpid()}.png")
            try:
                images.encode_png(temporary, picture)
                os.replace(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)
            self.index += 1


def _make_folder(target: Path) -> Path:
    if target.exists() and not target.is_dir():
        raise GanExportError(f"{printable(str(target))} is a file; name a folder, or a file with a suffix")
    target.mkdir(parents=True, exist_ok=True)
    if not os.access(target, os.W_OK | os.X_OK):
        raise GanExportError(f"{printable(str(target))}: no right to write there; name another folder with -o")
    return target


def _npy_header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def _manifest(path: Path, kind: str) -> Manifest:
    manifest = manifests.read_manifest(path, kind)
    if manifest is None:
        raise GanExportError(
            f"{printable(str(path))} has no manifest of gan-export inside: its latents are not known; "
            "export the checkpoint with gan-export, or run the file in its own runtime"
        )
    return manifest


def _read_tensor(path: Path) -> npt.NDArray[np.float32]:
    """By our own reader: torch.load's is safe only while its list of what it trusts is."""
    from gan_export.checkpoint.containers.detect import read_content
    from gan_export.checkpoint.containers.tensors import as_tensor

    _, _, content, _ = read_content(path)
    tensor = as_tensor(content.root)
    if tensor is None:
        raise GanExportError(f"{printable(str(path))} holds no tensor; name a .npy, or a tensor that torch.save wrote")
    return tensor.floats()
