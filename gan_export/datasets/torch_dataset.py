"""A generator as a torch dataset: images are generated on access, with nothing on disk.

Item i is image start + i of the seed, with the bytes that gan-sample writes, in any order, process or batch.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from gan_export import latents
from gan_export.errors import GanExportError, printable
from gan_export.formats import manifest
from gan_export.graph.signature import Signature
from gan_export.recognize.options import ReadOptions
from gan_export.runtimes import find as find_runtime
from gan_export.runtimes.base import require_available
from gan_export.runtimes.torch_session import TorchSession, prepare_torch
from gan_export.sampling import generator as generators
from gan_export.sampling.generator import Generator, Label
from gan_export.sampling.opening import open_generator

_BLOCK = generators.BATCH
Item = Tensor | tuple[Tensor, int]
Transform = Callable[[Tensor], Tensor]
# of a parent process: closing one would wait for threads that a fork doesn't copy
_INHERITED: list[contextlib.ExitStack] = []


@dataclass(frozen=True, slots=True)
class GeneratorDatasetConfig:
    """The generator, its range of images, and the form of the items."""

    path: Path
    seed: int
    length: int
    start: int = 0
    label: Label = "random"
    latent_scale: float = 1.0
    device: str = "cpu"
    threads: int | None = None
    transform: Transform | None = None


class _Source:
    """A generator that each process opens for itself: threads and GPUs don't survive a fork and can't be pickled."""

    def __init__(self, drawing: GeneratorDatasetConfig) -> None:
        """Raises GanExportError for an invalid generator or range here, not only in a worker."""
        self.drawing = drawing
        latents.check(drawing.seed, drawing.start, drawing.length)
        if drawing.length < 1:
            raise GanExportError(f"length={drawing.length}: must be at least 1")
        self.signature, self.overrides = _described(drawing)
        first = range(drawing.start, drawing.start + 1)
        generators.choose_labels(self.signature, drawing.label, drawing.seed, first)
        self._pid = -1
        self._stack: contextlib.ExitStack | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {
            "drawing": self.drawing,
            "signature": self.signature,
            "overrides": self.overrides,
            "_pid": -1,
            "_stack": None,
        }

    def items(self, indices: Sequence[int]) -> list[Item]:
        """Return the items of these indices, generated in one batch."""
        d = self.drawing
        index = np.asarray(indices, np.int64)
        if len(index) and (int(index.min()) < 0 or int(index.max()) >= d.length):
            raise IndexError(
                f"index {int(index.min())} or {int(index.max())} is out of range: the dataset has {d.length} images"
            )
        images = index.astype(np.uint64) + np.uint64(d.start)
        labels = generators.choose_labels(self.signature, d.label, d.seed, images)
        pictures = torch.from_numpy(self._bytes(images, labels)).permute(0, 3, 1, 2)
        values = pictures.to(torch.float32).div_(127.5).sub_(1.0).contiguous()  # (N, C, H, W) in [-1, 1]
        rows = [d.transform(v) if d.transform else v for v in values]
        return rows if labels is None else list(zip(rows, labels.tolist(), strict=True))

    def _bytes(self, images: npt.NDArray[np.uint64], labels: generators.Labels | None) -> generators.Bytes:
        d = self.drawing
        generator = self._generator()
        if not isinstance(generator.session, TorchSession):
            return generator.sample(seed=d.seed, indices=images, labels=labels)
        with _torch_as_it_was(d.device):
            prepare_torch(d.device, self._threads())
            return generator.sample(seed=d.seed, indices=images, labels=labels)

    def _generator(self) -> Generator:
        if self._pid != os.getpid():
            d = self.drawing
            if self._stack is not None:
                _INHERITED.append(self._stack)
            self._stack = contextlib.ExitStack()  # open until the process ends
            with _torch_as_it_was(d.device):
                self._opened = self._stack.enter_context(
                    open_generator(
                        d.path,
                        self.overrides,
                        device=d.device,
                        threads=self._threads(),
                        latent_scale=d.latent_scale,
                        by_evidence=False,
                    )
                )
            self._pid = os.getpid()
        return self._opened

    def _threads(self) -> int | None:
        return self.drawing.threads or (1 if get_worker_info() else None)  # a worker has a core of its own


def _described(drawing: GeneratorDatasetConfig) -> tuple[Signature, ReadOptions]:
    """Return the signature, and the options by which workers read a checkpoint.

    Uses the CPU: a GPU used before a DataLoader forks doesn't work in its workers.  Other errors of a GPU appear with
    the first item.
    """
    path, device = drawing.path, drawing.device
    compiled = path.is_file() and manifest.detect_format(path) == "aoti"  # only for the device that it was compiled for
    with (
        _torch_as_it_was(device),
        open_generator(
            path, device=device if compiled else "cpu", threads=1, latent_scale=drawing.latent_scale
        ) as generator,
    ):
        info = generator.session.info
    if info.inputs == "seed":
        raise GanExportError(
            f"{printable(path.name)} generates images from a seed in order, and a dataset needs any image at any time: "
            "export the checkpoint without sampler=True, or name the checkpoint"
        )
    runtime = find_runtime(info.runtime)
    if device != "cpu" and (device not in runtime.devices or not torch.cuda.device_count()):
        require_available(runtime, device)
    return generator.signature, generator.overrides


@contextlib.contextmanager
def _torch_as_it_was(device: str) -> Iterator[None]:
    """Restore torch's threads and TF32 settings after the block, for the user's training loop."""
    threads = torch.get_num_threads()
    precision = _tf32() if device == "cuda" else []
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        for place, name, value in precision:
            setattr(place, name, value)


def _tf32() -> list[tuple[Any, str, Any]]:
    """Return (owner, name, value) of the TF32 settings; the older name can't be read if only the newer was set."""
    cudnn: Any = torch.backends.cudnn
    found: list[tuple[Any, str, Any]] = []
    for place, newer in ((cudnn, cudnn.conv), (torch.backends.cuda.matmul, torch.backends.cuda.matmul)):
        with contextlib.suppress(RuntimeError):
            found.append((place, "allow_tf32", place.allow_tf32))
        found.append((newer, "fp32_precision", newer.fp32_precision))
    return found


class GeneratorDataset(Dataset[Item]):
    """A map-style dataset: any index at any time, so that DataLoader's workers and samplers work.

    Items are float32 (C, H, W) in [-1, 1], with the label if the generator has labels.
    """

    def __init__(self, drawing: GeneratorDatasetConfig) -> None:
        self._source = _Source(drawing)

    def __len__(self) -> int:
        return self._source.drawing.length

    def __getitem__(self, index: int) -> Item:
        return self._source.items([index + len(self) if index < 0 else index])[0]

    def __getitems__(self, indices: list[int]) -> list[Item]:
        """Return a DataLoader's batch, generated at once, which is several times as fast."""
        return self._source.items(indices)


class GeneratorIterableDataset(IterableDataset[Item]):
    """An iterable dataset, split among torch.distributed's ranks and a DataLoader's workers: each image once."""

    def __init__(self, drawing: GeneratorDatasetConfig, rank: int | None = None, world: int | None = None) -> None:
        """Split among `world` ranks; default: torch.distributed's rank and world size, else 0 of 1."""
        self._source = _Source(drawing)
        self._rank, self._world = rank, world

    def __iter__(self) -> Iterator[Item]:
        running = torch.distributed.is_available() and torch.distributed.is_initialized()
        rank = self._rank if self._rank is not None else torch.distributed.get_rank() if running else 0
        world = self._world if self._world is not None else torch.distributed.get_world_size() if running else 1
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        length = self._source.drawing.length
        for first in range((rank * workers + number) * _BLOCK, length, world * workers * _BLOCK):
            yield from self._source.items(range(first, min(length, first + _BLOCK)))
