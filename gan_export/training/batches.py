"""Batches of real images by (epoch, step in the epoch), on the run's device.

The order is a function of the seed and the epoch, so the step number determines a run's position in its data.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gan_export.errors import GanExportError
from gan_export.training import devices, recipe
from gan_export.training.data import DataSource
from gan_export.training.distributed import ALONE, Group

_PIECE = 4096  # images that are read and moved together


@lru_cache(maxsize=2)  # this epoch's and the next one's
def epoch_order(count: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return the order of the images in an epoch, a function of (count, seed, epoch): int64 (count,)."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(count)


def steps_per_epoch(count: int, data: recipe.Data, batch: int, processes: int = 1) -> int:
    """Return the steps per epoch; raise GanExportError without a batch of two images per process, for BatchNorm."""
    if batch < 2 * processes:
        raise GanExportError(
            f"train.batch {batch} is too small for {processes} processes; it must be at least {2 * processes}"
        )
    whole, rest = divmod(count, batch)
    steps = whole + (rest >= 2 * processes and not data.drop_last)
    if steps == 0:
        raise GanExportError(f"{count} images don't fill one batch of {batch}; lower train.batch or add images")
    return steps


class Batches:
    """The batches of a run; with several processes, each has its own rows.

    On CUDA, the whole dataset stays in device memory if it takes at most a quarter of the free memory.
    """

    def __init__(self, source: DataSource, recipe: recipe.Recipe, device: torch.device, group: Group = ALONE) -> None:
        self._source, self._device, self._group = source, device, group
        self._batch, self._seed = recipe.train.batch * recipe.train.critic_steps, recipe.train.seed  # of one step
        self._per_epoch = steps_per_epoch(len(source), recipe.data, self._batch, group.size)
        self._layout = devices.memory_layout(recipe)
        self._to_unit = recipe.data.dims == 3
        self._orders: dict[int, npt.NDArray[np.int64]] = {}
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)
        self._resident = self._moved_whole() if device.type == "cuda" and recipe.compute.resident else None
        self._labels = None if source.labels is None else torch.from_numpy(source.labels)
        if self._resident is not None and self._labels is not None:
            self._labels = self._labels.to(device)

    def get(self, epoch: int, within: int) -> Tensor:
        """Return images (n, C, S, S) in [-1, 1], or volumes (n, C, S, S, S) in [0, 1], float32.

        epoch and step count from 0; an epoch's last may be smaller.
        """
        taken = self._bytes(self._indices(epoch, within))
        if self._resident is None:
            self._source.expect(self._after(epoch, within))
        values = taken.to(torch.float32)
        pictures = values.div_(255.0) if self._to_unit else values.div_(127.5).sub_(1.0)
        return pictures.contiguous(memory_format=self._layout)

    def labels(self, epoch: int, within: int) -> Tensor | None:
        """Return the labels (n,) of the same images, or None if the source has none."""
        if self._labels is None:
            return None
        return self._labels[self._indices(epoch, within)].to(self._device)

    def _indices(self, epoch: int, within: int) -> Tensor:
        """Return the indices of the images, int64 (n,), on the device that has the images."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = torch.from_numpy(self._order_of(epoch))
            if self._resident is not None:
                self._order = self._order.to(self._device)
        return self._order[self._rows(within)]

    def _rows(self, within: int) -> slice:
        """Return this process's rows of a batch in its epoch."""
        first = within * self._batch
        whole = min(self._batch, len(self._source) - first)
        rows = whole // self._group.size * self._group.size  # all processes have the same number
        return slice(first + self._group.rank, first + rows, self._group.size)

    def _after(self, epoch: int, within: int) -> npt.NDArray[np.int64]:
        """Return the indices of the batch after this one."""
        if within + 1 == self._per_epoch:
            return self._order_of(epoch + 1)[self._rows(0)]
        return self._order_of(epoch)[self._rows(within + 1)]

    def _order_of(self, epoch: int) -> npt.NDArray[np.int64]:
        """Return an epoch's order, cached until the epoch after the next is needed."""
        if epoch not in self._orders:
            self._orders = {e: order for e, order in self._orders.items() if e == epoch - 1}
            self._orders[epoch] = epoch_order(len(self._source), self._seed, epoch)
        return self._orders[epoch]

    def _bytes(self, indices: Tensor) -> Tensor:
        if self._resident is not None:
            return self._resident[indices]
        taken = torch.from_numpy(self._source.read(indices.numpy()))
        if self._device.type == "cuda":
            taken = taken.pin_memory()
        return taken.to(self._device, non_blocking=True)

    def _moved_whole(self) -> Tensor | None:
        free, _ = torch.cuda.mem_get_info(self._device)
        count = len(self._source)
        if count * math.prod(self._source.shape) > free // 4:
            return None
        whole = torch.empty((count, *self._source.shape), dtype=torch.uint8, device=self._device)
        for first in range(0, count, _PIECE):
            last = min(first + _PIECE, count)
            whole[first:last] = torch.from_numpy(self._source.read(np.arange(first, last)))
        return whole
