"""One run a folder, or one a slice of it: locks that die with their process, so that kill -9 leaves none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from gan_export.errors import GanExportError, printable
from gan_export.scale.job import Slice
from gan_export.scale.store import STATE


@contextlib.contextmanager
def hold(folder: Path, slice: Slice) -> Iterator[None]:
    """Hold the slice: a whole run excludes every other, a slice excludes whole runs and itself.

    Raises GanExportError when another process holds it.  On a network file system without locks it holds nothing;
    two runs there do the same work twice, and write the same bytes.
    """
    with contextlib.ExitStack() as held:
        held.enter_context(_locked(folder / STATE / "lock", folder, shared=slice.of > 1))
        if slice.of > 1:
            name = f"lock-{slice.number}-of-{slice.of}"
            held.enter_context(_locked(folder / STATE / name, folder, shared=False))
        yield


@contextlib.contextmanager
def finishing(folder: Path) -> Iterator[None]:
    """One process at a time; waits for its turn."""
    with _opened(folder / STATE / "lock-of-the-manifest") as f:
        _lock(f, shared=False, wait=True)
        yield


@contextlib.contextmanager
def _locked(path: Path, folder: Path, *, shared: bool) -> Iterator[None]:
    while True:
        with _opened(path) as f:
            try:
                _lock(f, shared=shared, wait=False)
            except (BlockingIOError, PermissionError):
                raise GanExportError(
                    f"{printable(str(folder))}: another run is at work there; wait for it, or name another folder"
                ) from None
            if _is_at(f, path):  # a run that just ended may have removed what was opened
                yield
                return


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as f:
        yield f


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
