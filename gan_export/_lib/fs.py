"""Files written whole or not at all, and their hashes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from gan_export._lib.escape import Text
from gan_export.errors import GanExportError, printable


@contextlib.contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path`: fsynced and renamed onto it on success, removed on any failure.

    The temporary file keeps `path`'s suffixes, since some writers go by them.  The target is as it was
    until the rename.  Raises GanExportError for a target that can't be written, before the body runs.
    """
    target = _file_target(path)
    temporary = target.with_name(f".{secrets.token_hex(4)}.{target.name}")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, target)
        sync(target.parent)
    except OSError as e:
        raise _cannot_write(target, e) from e
    finally:
        temporary.unlink(missing_ok=True)


def sync_filesystem(folder: Path) -> None:
    """Whatever was written to the file system of `folder` survives a loss of power from now on."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError, TypeError):  # of this one alone, where that can be said
        handle = os.open(folder, os.O_RDONLY)
        try:
            if ctypes.CDLL(None).syncfs(handle) == 0:
                return
        finally:
            os.close(handle)
    if hasattr(os, "sync"):
        os.sync()


@contextlib.contextmanager
def atomic_group(path: Path | str, keep: Collection[Path] = ()) -> Iterator[Path]:
    """As `atomic_file`, for a format of several files: yields `path`'s own name in a temporary folder beside it.

    Whatever the body leaves in that folder is renamed to lie beside `path`; the file `path`, which is the one that
    programs open, comes last.  Raises GanExportError before any of it where one would replace a file of `keep`, or
    where `path` isn't there and one of the others is: it belongs to something else.
    """
    target = _file_target(path)
    refuse_overwrite(target, keep)
    folder = target.with_name(f".{secrets.token_hex(4)}.{target.name}")
    try:
        folder.mkdir()
        yield folder / target.name
        files = sorted(folder.iterdir(), key=lambda file: (file.name == target.name, file.name))
        for file in files:
            sync(file)
        beside = [target.with_name(file.name) for file in files if file.name != target.name]
        for name in beside:
            refuse_overwrite(name, keep)
            if os.path.lexists(name) and not os.path.lexists(target):
                raise GanExportError(
                    f"{printable(str(name))} is there already, and {printable(target.name)}, which it would belong to, "
                    "is not; name another with -o, or move it away"
                )
        for file in files:
            os.replace(file, target.with_name(file.name))
        sync(target.parent)
    except OSError as e:
        raise _cannot_write(target, e) from e
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def atomic_folder(path: Path | str, keep: Collection[Path] = (), replaces: bool = False) -> Iterator[Path]:
    """A temporary folder beside `path`, renamed onto it on success; `path` must not exist or be empty.

    replaces: it may be a folder with files, none of which is wanted any longer.  Raises GanExportError where it holds a
    file of `keep`.
    """
    target = Path(path)
    _check_parent(target)
    if target.exists() and (not target.is_dir() or (any(target.iterdir()) and not replaces)):
        raise GanExportError(f"{printable(str(target))} is there already; name another with -o, or remove it")
    if held := next((file for file in keep if file.resolve().is_relative_to(target.resolve())), None):
        raise GanExportError(
            f"{printable(str(target))} holds {printable(held.name)}, which is read; name another with -o"
        )
    temporary = target.with_name(f".{secrets.token_hex(4)}.{target.name}")
    aside = target.with_name(f".{secrets.token_hex(4)}.old.{target.name}")
    try:
        temporary.mkdir()
        yield temporary
        for file in sorted(temporary.rglob("*")):
            if file.is_file():
                sync(file)
        if target.exists() and not any(target.iterdir()):
            target.rmdir()
        elif target.exists():
            os.replace(target, aside)
        try:
            os.replace(temporary, target)
        except OSError:
            if aside.exists():
                os.replace(aside, target)
            raise
        sync(target.parent)
        shutil.rmtree(aside, ignore_errors=True)
    except OSError as e:
        raise _cannot_write(target, e) from e
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_overwrite(path: Path, keep: Collection[Path]) -> None:
    """Raises GanExportError where `path` is a file of `keep`, by whatever name."""
    for file in keep:
        with contextlib.suppress(OSError):  # one of them isn't there
            if os.path.samefile(path, file):
                raise GanExportError(
                    f"{printable(str(path))} is the checkpoint itself and would be written over; name another with -o"
                )


def refuse_link(path: Path) -> None:
    """Raises GanExportError if `path` is a link, or another name of a file: what is written there lands elsewhere."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink > 1):
        raise GanExportError(
            f"{printable(str(path))} is a link, and what is written there would land elsewhere; put a copy in its place"
        )


def write_text(path: Path, text: Text[Any]) -> None:
    """Write a text file in UTF-8, with Unix line ends; its strings have been through `escape`."""
    path.write_text(str(text), encoding="utf-8", newline="\n")


def sha256_file(path: Path | str) -> str:
    """The file's sha256 in hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while piece := f.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _file_target(path: Path | str) -> Path:
    target = Path(path)
    _check_parent(target)
    if target.is_dir():
        raise GanExportError(f"{printable(str(target))} is a folder; name a file with -o")
    return target


def _check_parent(target: Path) -> None:
    parent = target.parent
    if not parent.is_dir():
        raise GanExportError(f"{printable(str(parent))} is no folder; make it first, or name another with -o")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise GanExportError(f"{printable(str(parent))}: no right to write there; name another place with -o")


def _cannot_write(target: Path, error: OSError) -> GanExportError:
    return GanExportError(f"{printable(str(target))} can't be written: {error.strerror or error}")


def sync(path: Path) -> None:
    """A file's content, or a folder's names, survive a loss of power from now on."""
    folder = path.is_dir()
    if os.name == "nt" and folder:
        return  # a folder can't be opened there, and its rename is already journalled
    handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)  # not every system flushes what may only be read
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
