"""The files of a generator: their sha256, which identifies it in a run, and their transfer to other machines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_export._lib.fs import sha256_file
from gan_export.datasets.records import TreeDigest
from gan_export.formats import manifest

Contents = Mapping[str, NDArray[Any]]  # name, with / -> uint8 (size,)


def sha256(path: Path) -> str:
    """Return the sha256 of a file; for a folder see TreeDigest: names don't begin with the folder's own."""
    if path.is_file() and len(manifest.files(path)) == 1:
        return sha256_file(path)
    tree = TreeDigest()
    for name, file in sorted(manifest.files(path).items()):
        tree.add(name.removeprefix(f"{path.name}/"), file.read_bytes())
    return tree.piece("").sha256


def read(path: Path) -> Contents:
    """Read all files, for `lay_down`."""
    return {name: np.fromfile(file, np.uint8) for name, file in manifest.files(path).items()}


def lay_down(contents: Contents, folder: Path) -> None:
    """Write files that `read` returned into a folder."""
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        data.tofile(folder / name)
