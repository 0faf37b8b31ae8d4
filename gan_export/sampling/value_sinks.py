"""Write volumes and signals by the target's suffix: arrays, meshes, sounds, a preview; completely or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gan_export import images, volumes
from gan_export._lib.fs import atomic_file, sync_filesystem
from gan_export.errors import GanExportError, printable
from gan_export.graph.ports import Port
from gan_export.sampling import meshes, sounds
from gan_export.sampling.sinks import make_folder, open_array

Floats = npt.NDArray[np.float32]
LEVEL = 0.5
SAMPLE_RATE = 16_000
MOST_SHOWN = 256  # volumes in a preview: 64 MB of pixels
KINDS = {"volume": "volumes", "audio": "signals"}  # what this module writes, in words
_SINGLE = (".ply", ".wav")  # files of one volume or signal


@dataclass(frozen=True, slots=True)
class Form:
    """Options of how values are written.

    level: of a volume's surface, as a share of its range; rate: values of a signal per second; None if not given
    """

    level: float | None = None
    rate: int | None = None


class ValueSink:
    """A writer that takes values (N, C, ...) in the order of their index."""

    def __init__(self, put: Callable[[int, Floats], None], first: int) -> None:
        self._put, self._index = put, first

    def put(self, values: Floats) -> None:
        for one in values:
            self._put(self._index, one)
            self._index += 1


def usual_count(target: Path) -> int:
    """Return the number of volumes or signals that are written to `target` if nobody says: 1, 8 or 64."""
    return {".ply": 1, ".wav": 1, ".png": 8}.get(target.suffix.lower(), 64)


def check(target: Path, port: Port, count: int, form: Form) -> None:
    """Raise GanExportError unless `count` values of `port` can be written to `target` in this form."""
    suffix, what = _suffix(target), KINDS[port.kind]
    known = (".npy", ".npz", ".png", ".ply", "") if port.kind == "volume" else (".npy", ".npz", ".wav", "")
    if suffix not in known:
        names = ", ".join(known[:-1])
        raise GanExportError(f"{printable(target.name)}: {what} are written as {names}, or into a folder's name")
    shown = port.kind == "volume" and suffix in (".png", ".ply", "")
    if form.level is not None and not shown:
        raise GanExportError(f"level={form.level:g}: only a mesh (.ply) and a preview (.png) of volumes have one")
    volumes.check_level(LEVEL if form.level is None else form.level)
    heard = port.kind == "audio" and suffix in (".wav", "")
    if form.rate is not None and not heard:
        raise GanExportError(f"sample_rate={form.rate}: only sounds (.wav) of a generator of signals have one")
    if heard:
        sounds.check(port.dims({})[port.axis("C")], SAMPLE_RATE if form.rate is None else form.rate)
    if suffix in _SINGLE and count != 1:
        raise GanExportError(
            f"{printable(target.name)}: a {suffix} file has one of the {count} {what}; name a folder, or count=1"
        )
    if suffix == ".png" and count > MOST_SHOWN:
        raise GanExportError(
            f"a preview of {count:,} volumes is too large; it has at most {MOST_SHOWN}, or name a .npz"
        )


@contextlib.contextmanager
def open_sink(target: Path, port: Port, start: int, count: int, form: Form) -> Iterator[ValueSink]:
    """Open a sink for the suffix of `target`; it is complete when the block ends, and removed after an error.

    .npy, .npz: bytes, channels last; .png: a row for each volume; .ply, .wav: one volume or signal; a folder: a .ply or
    .wav for each.
    """
    check(target, port, count, form)
    span, level = port.range or (-1.0, 1.0), LEVEL if form.level is None else form.level
    rate = SAMPLE_RATE if form.rate is None else form.rate
    with contextlib.ExitStack() as stack:
        match _suffix(target):
            case ".npy" | ".npz":
                stored = port.as_bytes()
                raw = stack.enter_context(open_array(target, (count, *stored.dims({})), KINDS[port.kind]))

                def store(index: int, one: Floats) -> None:
                    raw.put(np.moveaxis(images.levels(one[None], port.range), 1, -1))

                yield ValueSink(store, start)
            case ".png":
                rows: list[npt.NDArray[np.uint8]] = []
                yield ValueSink(lambda _, one: rows.extend(volumes.preview(one[None], span, level)), start)
                with atomic_file(target) as temporary:
                    images.encode_png(temporary, images.grid(np.stack(rows), 1 if count <= 16 else None))
            case ".ply":
                yield ValueSink(lambda index, one: _write_mesh(target, index, one, span, level), start)
            case ".wav":
                yield ValueSink(lambda _, one: sounds.write(target, one, span, rate), start)
            case _:
                folder = make_folder(target)

                def file(index: int, one: Floats) -> None:
                    if port.kind == "volume":
                        meshes.write(folder / f"{index:08d}.ply", meshes.mesh(one[0], span, level))
                    else:
                        sounds.write(folder / f"{index:08d}.wav", one, span, rate)

                yield ValueSink(file, start)
                sync_filesystem(folder)


def _write_mesh(target: Path, index: int, one: Floats, span: tuple[float, float], level: float) -> None:
    surface = meshes.mesh(one[0], span, level)
    meshes.require_surface(surface, level, index)
    meshes.write(target, surface)


def _suffix(target: Path) -> str:
    return "" if target.is_dir() else target.suffix.lower()
