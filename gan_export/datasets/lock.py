"""Locks: one run per folder, or one per slice of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from gan_export._lib import fs, locks
from gan_export.datasets.plan import Partition
from gan_export.datasets.store import STATE
from gan_export.errors import GanExportError, printable

OF_MANIFEST = "lock-of-the-manifest"  # the name of the lock's file


@contextlib.contextmanager
def hold(folder: Path, slice: Partition) -> Iterator[None]:
    """Lock a slice: a whole run excludes all others, a slice excludes whole runs and the same slice.

    Raises GanExportError if another process has the lock.  A network file system without locks excludes nothing; two
    runs there do the same work twice and write the same bytes.
    """
    for name in (STATE, f"{STATE}/lock"):
        fs.refuse_link(folder / name)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locks.try_lock(folder / STATE / "lock", shared=slice.of > 1))
            if slice.of > 1:
                held.enter_context(locks.try_lock(folder / STATE / f"lock-{slice.number}-of-{slice.of}"))
        except BlockingIOError:
            raise GanExportError(
                f"{printable(str(folder))}: another run is using this folder; wait for it, or name another folder"
            ) from None
        yield


def finishing(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Lock the manifest for one process at a time, after waiting; create the run's folder if needed."""
    return locks.lock(folder / STATE / OF_MANIFEST)
