"""Lock files; a lock ends with its process, so that kill -9 leaves none."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_TRIES = 100  # attempts to create a lock's folder, which another process may remove before the lock is in it


@contextlib.contextmanager
def try_lock(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock of `path`, a file that is created if needed; raise BlockingIOError if another process has it.

    shared: also beside other shared locks.  On a network file system without locks it locks nothing.
    """
    while True:
        with _opened(path) as f:
            try:
                _lock(f, shared=shared, wait=False)
            except (BlockingIOError, PermissionError) as e:
                raise BlockingIOError(str(path)) from e
            if _is_at(f, path):  # the previous owner may have removed the opened file
                yield
                return


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the lock of `path` after waiting for it."""
    while True:
        with _opened(path) as f:
            _lock(f, shared=False, wait=True)
            if _is_at(f, path):
                yield
                return


def _opened(path: Path) -> IO[bytes]:
    """Open the file, created with its folder if needed; another process may remove the folder in between."""
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

        if not shared:  # Windows has no shared locks here
            f.seek(0)
            msvcrt.locking(f.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        return
    import fcntl

    fcntl.flock(f, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
