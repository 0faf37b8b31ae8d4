"""Open a target by its name: a folder, or a URL of a file system."""

from __future__ import annotations

from pathlib import Path

from gan_export.datasets.fsspec_store import Remote
from gan_export.datasets.store import Folder, Store


def open_store(target: str, *, writing: bool = True) -> Store:
    """Return the store of a target without creating anything.

    Raises GanExportError if `writing` and the target can't be written to.
    """
    return Remote(target) if "://" in target else Folder(Path(target), writing=writing)
