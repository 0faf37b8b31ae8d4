"""Locks on files, which die with their process, so that kill -9 leaves none."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_TRIES = 100  # folders of a lock that are made, each removed by another process before the lock is in it


@contextlib.contextmanager
def try_lock(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Holds the lock of `path`, a file that is made where need be, or raises BlockingIOError when another has it.

    shared: beside others who share it.  On a network file system without locks it holds nothing.
    """
    while True:
        with _opened(path) as f:
            try:
                _lock(f, shared=shared, wait=False)
            except (BlockingIOError, PermissionError) as e:
                raise BlockingIOError(str(path)) from e
            if _is_at(f, path):  # who held it before may have removed what was opened
                yield
                return


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """The same, after waiting for its turn."""
    while True:
        with _opened(path) as f:
            _lock(f, shared=False, wait=True)
            if _is_at(f, path):
                yield
                return


def _opened(path: Path) -> IO[bytes]:
    """The file, made where need be with its folder, which another process may remove in between."""
    for _ in range(_TRIES):
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True)
            return os.fdopen(os.open(path, _FLAGS, 0o666), "ab")
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def _is_at(f: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(f.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _lock(f: IO[bytes], *, shared: bool, wait: bool) -> None:
    if os.name == "nt":
        import msvcrt

        if not shared:  # there are no shared ones there
            f.seek(0)
            msvcrt.locking(f.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        return
    import fcntl

    fcntl.flock(f, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
