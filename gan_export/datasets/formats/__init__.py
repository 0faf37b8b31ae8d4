"""The registry of dataset formats."""

from __future__ import annotations

from gan_export._lib.registry import Registry
from gan_export.datasets.formats.arrays import Npy, Raw
from gan_export.datasets.formats.base import Format
from gan_export.datasets.formats.parquet import Parquet
from gan_export.datasets.formats.png import Classes, Png
from gan_export.datasets.formats.webdataset import NPY, PNG, WebDataset

FORMATS: Registry[Format] = Registry(
    "dataset format",
    (
        Png(),
        Classes(),
        WebDataset("webdataset", "tar shards of PNG, JSON and label, for webdataset", PNG),
        WebDataset("webdataset-npy", "tar shards of npy, JSON and label, for webdataset", NPY),
        Parquet(),
        Npy(),
        Raw(),
    ),
)
find = FORMATS.find
