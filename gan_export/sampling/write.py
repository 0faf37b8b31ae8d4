"""Write many images to a file or a folder, in batches, in constant memory, whole or not at all."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gan_export import latents
from gan_export.errors import GanExportError
from gan_export.graph.ports import Port
from gan_export.sampling.generator import BATCH, Generator, Label
from gan_export.sampling.sinks import open_sink
from gan_export.sampling.value_sinks import Form
from gan_export.sampling.value_sinks import open_sink as open_sink_of_values

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
_MOST_AT_ONCE = 1 << 24  # bytes of a batch of values; what a runtime needs between the layers is some ten times more
Progress = Callable[[int], None]


def write(
    target: Path,
    image: tuple[int, int, int],
    make: Callable[[range], Bytes],
    count: int,
    *,
    first: int = 0,
    batch: int = BATCH,
    columns: int | None = None,
    progress: Progress = lambda _: None,
) -> None:
    """Write `count` images (C, H, W), which `make` gives for ranges of 0 .. count-1 as uint8 (N, H, W, C).

    By suffix: .png one grid, .npy and .npz (N, H, W, C) uint8, none or a folder that is there: one PNG an image,
    named from `first` on.  Memory doesn't grow with `count`, a grid's aside.  An interrupt leaves no half file.
    columns: of a grid, by default as square as possible; `progress` gets the size of each batch.
    """
    if count < 1:
        raise GanExportError(f"count={count}: must be at least 1")
    if batch < 1:
        raise GanExportError(f"batch={batch}: must be at least 1")
    with open_sink(target, image, first, count, columns) as sink:
        for at in range(0, count, batch):
            rows = range(at, min(at + batch, count))
            sink.put(make(rows))
            progress(len(rows))


def write_values(
    target: Path,
    port: Port,
    make: Callable[[range], Floats],
    count: int,
    *,
    form: Form,
    first: int = 0,
    batch: int = BATCH,
    progress: Progress = lambda _: None,
) -> None:
    """Write `count` volumes or signals, which `make` gives for ranges of 0 .. count-1 as float32 (N, C, ...).

    As `value_sinks.open_sink` writes them, in batches that take at most _MOST_AT_ONCE bytes.
    """
    if batch < 1:
        raise GanExportError(f"batch={batch}: must be at least 1")
    batch = min(batch, max(1, _MOST_AT_ONCE // (4 * math.prod(port.dims({})))))
    with open_sink_of_values(target, port, first, count, form) as sink:
        for at in range(0, count, batch):
            rows = range(at, min(at + batch, count))
            sink.put(make(rows))
            progress(len(rows))


def sample(
    generator: Generator,
    target: Path,
    *,
    seed: int,
    start: int,
    count: int,
    batch: int = BATCH,
    label: Label = "random",
    progress: Progress = lambda _: None,
) -> None:
    """Write images start .. start+count-1 of `seed` to `target`, as `write` does."""
    latents.check(seed, start, count)

    def make(rows: range) -> Bytes:
        return generator.sample(len(rows), seed=seed, start=start + rows.start, labels=label)

    write(target, generator.image, make, count, first=start, batch=batch, progress=progress)
