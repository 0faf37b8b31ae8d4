"""The files that a generator is: the sha256 by which a run knows it, and how it travels to other machines."""

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
    """Of a file; of several, see TreeDigest: names inside a folder don't begin with its own."""
    if path.is_file() and len(manifest.files(path)) == 1:
        return sha256_file(path)
    tree = TreeDigest()
    for name, file in sorted(manifest.files(path).items()):
        tree.add(name.removeprefix(f"{path.name}/"), file.read_bytes())
    return tree.piece("").sha256


def read(path: Path) -> Contents:
    """All that `lay_down` needs to make it again."""
    return {name: np.fromfile(file, np.uint8) for name, file in manifest.files(path).items()}


def lay_down(contents: Contents, folder: Path) -> None:
    """Write the files under their names."""
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        data.tofile(folder / name)
