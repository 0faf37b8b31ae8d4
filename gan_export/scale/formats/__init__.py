"""Every format of datasets there is, by name."""

from __future__ import annotations

import difflib

from gan_export.errors import GanExportError, printable
from gan_export.scale.formats.arrays import Npy, Raw
from gan_export.scale.formats.base import Format
from gan_export.scale.formats.parquet import Parquet
from gan_export.scale.formats.png import Classes, Png
from gan_export.scale.formats.webdataset import NPY, PNG, WebDataset

FORMATS: tuple[Format, ...] = (
    Png(),
    Classes(),
    WebDataset("webdataset", "tar shards of PNG, JSON and label, for webdataset", PNG),
    WebDataset("webdataset-npy", "tar shards of npy, JSON and label, for webdataset", NPY),
    Parquet(),
    Npy(),
    Raw(),
)


def find(name: str) -> Format:
    """The format of that name.  Raises GanExportError, naming the nearest ones, where there is none."""
    for format in FORMATS:
        if format.name == name:
            return format
    names = [f.name for f in FORMATS]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    raise GanExportError(f"--format {printable(name)} is not known; {hint}")
