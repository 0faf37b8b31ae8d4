"""One run a folder, or one a slice of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from gan_export._lib import fs, locks
from gan_export.datasets.plan import Partition
from gan_export.datasets.store import STATE
from gan_export.errors import GanExportError, printable

OF_MANIFEST = "lock-of-the-manifest"  # the name of its file


@contextlib.contextmanager
def hold(folder: Path, slice: Partition) -> Iterator[None]:
    """Hold the slice: a whole run excludes every other, a slice excludes whole runs and itself.

    Raises GanExportError when another process holds it.  On a network file system without locks it holds nothing;
    two runs there do the same work twice, and write the same bytes.
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
                f"{printable(str(folder))}: another run is at work there; wait for it, or name another folder"
            ) from None
        yield


def finishing(folder: Path) -> contextlib.AbstractContextManager[None]:
    """One process at a time; waits for its turn.  Makes the folder for what a run keeps where need be."""
    return locks.lock(folder / STATE / OF_MANIFEST)
