"""Write files as a whole or not at all, and hash them."""

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
    """Yield a temporary path beside `path`: fsynced and renamed onto it on success, removed on any failure.

    The temporary file keeps `path`'s suffixes, because some writers depend on them.  The target doesn't change until
    the rename.  Raises GanExportError for a target that can't be written, before the body runs.
    """
    target = check_target(path)
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
    """Flush everything written to the file system of `folder`, so that it survives a loss of power."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError, TypeError):  # only this file system, if the system supports that
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
    """Yield `path`'s own name in a temporary folder beside it, for a format of several files, as `atomic_file` does.

    All files that the body leaves in that folder are renamed to be beside `path`; the file `path`, which programs open,
    comes last.  Raises GanExportError, before any rename, if one would replace a file of `keep`, or if `path` doesn't
    exist and one of the others does: it belongs to something else.
    """
    target = check_target(path)
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
                    f"{printable(str(name))} already exists, and {printable(target.name)}, which it would belong to, "
                    "does not; name another with target=, or move it away"
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
    """Yield a temporary folder beside `path`, renamed onto it on success; `path` must not exist or be empty.

    replaces: `path` may be a folder with files, all of which are replaced.  Raises GanExportError if it contains a file
    of `keep`.
    """
    target = Path(path)
    _check_parent(target)
    if target.exists() and (not target.is_dir() or (any(target.iterdir()) and not replaces)):
        raise GanExportError(f"{printable(str(target))} already exists; name another with target=, or remove it")
    if held := next((file for file in keep if file.resolve().is_relative_to(target.resolve())), None):
        raise GanExportError(
            f"{printable(str(target))} contains {printable(held.name)}, which is an input; name another with target="
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
    """Raise GanExportError if `path` is a file of `keep`, by any name."""
    for file in keep:
        with contextlib.suppress(OSError):  # one of them doesn't exist
            if os.path.samefile(path, file):
                raise GanExportError(
                    f"{printable(str(path))} is the checkpoint itself and would be replaced; name another with target="
                )


def refuse_link(path: Path) -> None:
    """Raise GanExportError if `path` is a link or another name of a file: writing would change another file."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink > 1):
        raise GanExportError(
            f"{printable(str(path))} is a link, and writing to it would change another file; replace it with a copy"
        )


def write_text(path: Path, text: Text[Any]) -> None:
    """Write a text file in UTF-8 with Unix line ends; its strings are escaped (`escape`)."""
    path.write_text(str(text), encoding="utf-8", newline="\n")


def sha256_file(path: Path | str) -> str:
    """Return the file's sha256 in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while piece := f.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def check_target(path: Path | str) -> Path:
    """Return the path; raise GanExportError, before any work, unless a file can be written there."""
    target = Path(path)
    _check_parent(target)
    if target.is_dir():
        raise GanExportError(f"{printable(str(target))} is a folder; name a file with target=")
    return target


def _check_parent(target: Path) -> None:
    parent = target.parent
    if not parent.is_dir():
        raise GanExportError(f"{printable(str(parent))} is not a folder; create it first, or name another with target=")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise GanExportError(
            f"{printable(str(parent))}: no permission to write there; name another folder with target="
        )


def _cannot_write(target: Path, error: OSError) -> GanExportError:
    return GanExportError(f"{printable(str(target))} can't be written: {error.strerror or error}")


def sync(path: Path) -> None:
    """Flush a file's content, or a folder's names, so that they survive a loss of power."""
    folder = path.is_dir()
    if os.name == "nt" and folder:
        return  # Windows can't open a folder, and its file system has journaled the rename
    handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)  # some systems don't flush a read-only file
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
