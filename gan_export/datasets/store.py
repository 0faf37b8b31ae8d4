"""The interface of a dataset's storage, and its implementation for a folder of this machine.

During a run, its job, records, scratch files and locks are in `.gan-sample/` inside the dataset; that folder is removed
when MANIFEST.json is written.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from gan_export._lib import fs
from gan_export.datasets.records import OutputFile, TreeDigest, changed, digest
from gan_export.errors import GanExportError, printable

STATE = ".gan-sample"
MANIFEST = "MANIFEST.json"
_BLOCK = 4096  # the smallest allocation of a file on nearly every file system


class Store(Protocol):
    """A dataset's storage.  Names are relative to it, with /.  shown: its name in messages."""

    shown: str

    def write(self, name: str, data: bytes) -> None:
        """Write a file as a whole or not at all."""
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Write a file as `write` does unless the name exists; return whether it was written."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None if it doesn't exist."""
        ...

    def head(self, name: str, size: int) -> tuple[bytes, int] | None:
        """Return the first bytes of a file, at most `size`, and its size; None if it doesn't exist."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted; empty for a folder that doesn't exist."""
        ...

    def scratch(self) -> contextlib.AbstractContextManager[Path]:
        """Create an empty folder on this machine, removed at the end of the block."""
        ...

    def publish(self, scratch: Path, piece: OutputFile) -> None:
        """Move a file or folder from a scratch folder to its name, replacing what is there.

        It appears as a whole or not at all.
        """
        ...

    def fault(self, piece: OutputFile) -> str:
        """Return what is wrong with a file or folder, as text; empty if it is intact."""
        ...

    def local(self, pieces: Iterable[OutputFile]) -> contextlib.AbstractContextManager[Path]:
        """Return a folder of this machine in which the pieces can be read under their names."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with its contents; do nothing if it doesn't exist."""
        ...

    def settle(self) -> None:
        """Flush everything written so far to the disk, so that it survives a loss of power."""
        ...

    def free(self) -> int | None:
        """Return the free space in bytes; None if unknown."""
        ...


class Folder:
    """A folder of this machine, or of a file system that several machines mount."""

    def __init__(self, path: Path, *, writing: bool = True) -> None:
        """Raises GanExportError for a path that can't be a folder, or is not writable (if `writing`).

        Nothing is created yet.
        """
        self.path = path
        self.shown = printable(str(path))
        if path.exists() and not path.is_dir():
            raise GanExportError(f"{self.shown} is a file; name a folder")
        there = path
        while not there.exists():
            there = there.parent
        if writing and not os.access(there, os.W_OK | os.X_OK):
            raise GanExportError(
                f"{printable(str(there))}: no permission to write there; name another folder with target="
            )

    def write(self, name: str, data: bytes) -> None:
        with self._beside(name) as temporary:
            temporary.write_bytes(data)
            os.replace(temporary, self.path / name)

    def create(self, name: str, data: bytes) -> bool:
        with self._beside(name) as temporary:
            temporary.write_bytes(data)
            try:
                os.link(temporary, self.path / name)
            except FileExistsError:
                return False
            except OSError:  # a file system without hard links
                if (self.path / name).exists():
                    return False
                os.replace(temporary, self.path / name)
        return True

    def read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def head(self, name: str, size: int) -> tuple[bytes, int] | None:
        try:
            with open(self.path / name, "rb") as f:
                return f.read(size), os.fstat(f.fileno()).st_size
        except (FileNotFoundError, IsADirectoryError):
            return None

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(self.path / folder))
        except FileNotFoundError:
            return []

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        folder = self._inside(f"{STATE}/scratch/any").parent
        try:
            folder.mkdir(exist_ok=True)
        except FileNotFoundError:  # its parents are not created again, because the rest of the run is not in them
            raise GanExportError(f"{self.shown} vanished during the run; run the command again") from None
        path = folder / f"{os.getpid()}-{secrets.token_hex(4)}"
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def publish(self, scratch: Path, piece: OutputFile) -> None:
        if piece.offset is not None:  # written in place
            fs.sync(self._inside(f"{STATE}/{piece.name}"))
            return
        target, source = self._inside(piece.name), scratch / piece.name
        if not piece.name.endswith("/"):
            fs.sync(source)
            os.replace(source, target)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():  # a damaged folder can't be replaced in one step
            os.replace(target, scratch / f"{secrets.token_hex(4)}.old")
        os.replace(source, target)

    def fault(self, piece: OutputFile) -> str:
        path = self.path / piece.name
        if piece.offset is not None and (under_way := self.path / STATE / piece.name).exists():
            path = under_way
        try:
            if piece.name.endswith("/"):
                return _folder_fault(path, piece)
            size = path.stat().st_size
            if piece.offset is None and size != piece.bytes:
                return f"{piece.name} has {size:,} bytes, not {piece.bytes:,}"
            with open(path, "rb") as f:
                f.seek(piece.offset or 0)
                if digest(f, piece.bytes) != piece.sha256:
                    return changed(piece)
        except FileNotFoundError:
            return f"{piece.name} is missing"
        except OSError as e:
            return f"{piece.name} can't be read: {e.strerror}"
        return ""

    @contextlib.contextmanager
    def local(self, pieces: Iterable[OutputFile]) -> Iterator[Path]:
        yield self.path

    def remove(self, name: str) -> None:
        path = self._inside(name)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def settle(self) -> None:
        fs.sync_filesystem(self.path)

    def free(self) -> int | None:
        there = self.path
        while not there.exists():
            there = there.parent
        return shutil.disk_usage(there).free

    def _inside(self, name: str) -> Path:
        """Return the path to write a name to; raise GanExportError if a folder on the way is a link.

        A dataset may come from a stranger, and must not lead out of its folder.
        """
        parts = name.rstrip("/").split("/")
        for depth in range(1, len(parts)):
            fs.refuse_link(self.path.joinpath(*parts[:depth]))
        return self.path / name

    @contextlib.contextmanager
    def _beside(self, name: str) -> Iterator[Path]:
        target = self._inside(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{secrets.token_hex(4)}.{target.name}")
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


def room(folder: Path) -> int:
    """Return the bytes that the files of a folder take on a disk."""
    sizes = (f.stat().st_size for f in folder.rglob("*") if f.is_file())
    return sum(-(-size // _BLOCK) * _BLOCK for size in sizes)


def _folder_fault(path: Path, piece: OutputFile) -> str:
    tree = TreeDigest()
    for name in sorted(os.listdir(path)):
        tree.add(name, (path / name).read_bytes())
    if tree.files != piece.files:
        return f"{piece.name} holds {tree.files:,} files, not {piece.files:,}"
    return "" if tree.piece(piece.name) == piece else changed(piece)
