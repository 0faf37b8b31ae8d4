"""Write images by the target's suffix: a grid, an array, or a folder of PNGs; completely or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gan_export import images
from gan_export._lib.fs import atomic_file, sync_filesystem
from gan_export.errors import GanExportError, printable

Bytes = npt.NDArray[np.uint8]
_GRID_PIXELS = 1 << 28


class Sink(Protocol):
    """A writer that takes images in the order of their index."""

    def put(self, pictures: Bytes) -> None: ...


@contextlib.contextmanager
def open_sink(
    target: Path, image: tuple[int, int, int], start: int, count: int, columns: int | None = None
) -> Iterator[Sink]:
    """Open a sink for the suffix of `target`; it is complete when the block ends, and removed after an error.

    columns: of a grid
    """
    channels, height, width = image
    shape = (count, height, width, channels)
    match "" if target.is_dir() else target.suffix.lower():
        case ".png":
            if count * height * width > _GRID_PIXELS:
                raise GanExportError(f"a grid of {count} images is too large; name a folder or a .npy with target=")
            with atomic_file(target) as temporary:
                collected: list[Bytes] = []
                yield _Collected(collected)
                images.encode_png(temporary, images.grid(np.concatenate(collected), columns))
        case ".npy" | ".npz":
            with open_array(target, shape, "images") as sink:
                yield sink
        case "":
            yield _Folder(make_folder(target), start)
            sync_filesystem(target)
        case other:
            raise GanExportError(
                f"{printable(target.name)}: {printable(other)} is not known; "
                "use .png (a grid), .npy, .npz, or a folder's name"
            )


@contextlib.contextmanager
def open_array(target: Path, shape: tuple[int, ...], name: str) -> Iterator[Sink]:
    """Open a sink for a .npy, or for the array `name` of a .npz; it takes uint8 of `shape` along its first axis."""
    with atomic_file(target) as temporary:
        if target.suffix.lower() == ".npy":
            with open(temporary, "wb") as f:
                f.write(_npy_header(shape))
                yield _Raw(f)
            return
        with zipfile.ZipFile(temporary, "w") as archive:
            entry = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, so that the same images give the same bytes
            with archive.open(entry, "w", force_zip64=True) as f:
                f.write(_npy_header(shape))
                yield _Raw(f)  # type: ignore[arg-type]


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
    """A folder with one PNG per image, each complete or not there; two machines may fill it from two starts.

    All files are synced to the disk at the end: a sync per image would take longer than generating it.
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


def make_folder(target: Path) -> Path:
    """Return `target` as a folder that can be written to, made if it isn't there; raise GanExportError if it can't."""
    if target.exists() and not target.is_dir():
        raise GanExportError(f"{printable(str(target))} is a file; name a folder, or a file with a suffix")
    target.mkdir(parents=True, exist_ok=True)
    if not os.access(target, os.W_OK | os.X_OK):
        raise GanExportError(
            f"{printable(str(target))}: no permission to write there; name another folder with target="
        )
    return target


def _npy_header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()
