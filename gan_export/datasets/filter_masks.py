"""Store which images of a shard the filters keep, as bits: eight images per byte."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from gan_export.datasets.plan import DatasetPlan, Shard
from gan_export.datasets.store import STATE, Store
from gan_export.errors import GanExportError

Mask = NDArray[np.bool_]


def keep_name(job: DatasetPlan, k: int) -> str:
    return f"{STATE}/keep/{job.name(k)}"


def write_keep(store: Store, job: DatasetPlan, k: int, row: int, mask: Mask) -> None:
    """Write the mask of shard k.  row: the number of images that the shards before k keep."""
    store.write(keep_name(job, k), struct.pack("<Q", row) + np.packbits(mask).tobytes())


def read_keep(store: Store, job: DatasetPlan, shard: Shard) -> tuple[int, Mask]:
    """Return (row, mask (count,)); raise GanExportError if the filters have not decided yet."""
    data = store.read(keep_name(job, shard.index))
    if data is None or len(data) != 8 + -(-shard.count // 8):
        raise GanExportError(f"the filter mask of shard {shard.index} is missing; run the command again")
    bits = np.frombuffer(data, np.uint8, offset=8)
    return struct.unpack_from("<Q", data)[0], np.unpackbits(bits, count=shard.count).astype(np.bool_)
