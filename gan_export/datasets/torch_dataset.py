"""A generator as a torch dataset: pictures drawn when they are asked for, nothing on disk.

Item i is image start + i of the seed, the same bytes that gan-sample writes, in any order, process or batch.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from gan_export import latents
from gan_export.errors import GanExportError, printable
from gan_export.formats import manifest
from gan_export.formats.manifest import Facts
from gan_export.runtimes import find as find_runtime
from gan_export.runtimes.base import require_available
from gan_export.runtimes.torch_session import TorchSession, prepare_torch
from gan_export.sampling import generator as generators
from gan_export.sampling.generator import Generator, Label

_BLOCK = generators.BATCH
Item = Tensor | tuple[Tensor, int]
Transform = Callable[[Tensor], Tensor]
_INHERITED: list[contextlib.ExitStack] = []  # of a parent: closing one would wait for threads that a fork left behind


@dataclass(frozen=True, slots=True)
class GeneratorDatasetConfig:
    """Which pictures of which generator, and how they are given."""

    path: Path
    seed: int
    length: int
    start: int = 0
    label: Label = "random"
    psi: float = 1.0
    device: str = "cpu"
    threads: int | None = None
    transform: Transform | None = None


class _Source:
    """A generator opened in whatever process asks: threads and GPUs don't survive a fork, and can't be pickled."""

    def __init__(self, drawing: GeneratorDatasetConfig) -> None:
        """Raises GanExportError for what can't be drawn, here and not in a worker."""
        self.drawing = drawing
        latents.check(drawing.seed, drawing.start, drawing.length)
        if drawing.length < 1:
            raise GanExportError(f"a dataset of {drawing.length} pictures; ask for at least one")
        self.facts = _facts(drawing)
        generators.choose_labels(self.facts, drawing.label, drawing.seed, drawing.start, 1)
        self._pid = -1
        self._stack: contextlib.ExitStack | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"drawing": self.drawing, "facts": self.facts, "_pid": -1, "_stack": None}

    def items(self, indices: Sequence[int]) -> list[Item]:
        """The items of these indices, drawn in one batch."""
        d = self.drawing
        index = np.asarray(indices, np.int64)
        if len(index) and (int(index.min()) < 0 or int(index.max()) >= d.length):
            raise IndexError(f"a dataset of {d.length} pictures has no {int(index.min())} or no {int(index.max())}")
        images = index.astype(np.uint64) + np.uint64(d.start)
        z = latents.draw_at(d.seed, images, self.facts.nz, self.facts.prior) * np.float32(d.psi)
        labels = self._labels(images)
        pictures = torch.from_numpy(self._bytes(z, labels)).permute(0, 3, 1, 2)
        values = pictures.to(torch.float32).div_(127.5).sub_(1.0).contiguous()  # (N, C, H, W) in [-1, 1]
        rows = [d.transform(v) if d.transform else v for v in values]
        return rows if labels is None else list(zip(rows, labels.tolist(), strict=True))

    def _labels(self, images: Any) -> generators.Labels | None:
        d, classes = self.drawing, self.facts.classes
        if not classes:
            return None
        match d.label:
            case "random":
                return latents.labels_at(d.seed, images, classes)
            case "all":
                return latents.labels_in_turn(images, classes)
        return np.full(len(images), d.label, np.int64)

    def _bytes(self, z: generators.Floats, labels: generators.Labels | None) -> generators.Bytes:
        d = self.drawing
        generator = self._generator()
        if not isinstance(generator.session, TorchSession):
            return generator.bytes(z, labels)
        with _torch_as_it_was(d.device):
            prepare_torch(d.device, self._threads())
            return generator.bytes(z, labels)

    def _generator(self) -> Generator:
        if self._pid != os.getpid():
            d = self.drawing
            if self._stack is not None:
                _INHERITED.append(self._stack)
            self._stack = contextlib.ExitStack()  # as long as the process
            with _torch_as_it_was(d.device):
                self._opened = self._stack.enter_context(
                    generators.open_generator(d.path, device=d.device, threads=self._threads(), psi=d.psi)
                )
            self._pid = os.getpid()
        return self._opened

    def _threads(self) -> int | None:
        return self.drawing.threads or (1 if get_worker_info() else None)  # a worker has a core of its own


def _facts(drawing: GeneratorDatasetConfig) -> Facts:
    """What the generator is, seen on the CPU: a GPU that is used before a DataLoader forks is lost to its workers.

    What a GPU is lacking, but for there being one, shows when the first item is drawn.
    """
    path, device = drawing.path, drawing.device
    compiled = path.is_file() and manifest.detect_format(path) == "aoti"  # for its device alone
    with (
        _torch_as_it_was(device),
        generators.open_generator(path, device=device if compiled else "cpu", threads=1, psi=drawing.psi) as generator,
    ):
        info = generator.session.info
    if info.inputs == "seed":
        raise GanExportError(
            f"{printable(path.name)} draws from a seed by itself, in order, and a dataset gives any item at any time: "
            "export the checkpoint without --sampler, or name the checkpoint"
        )
    runtime = find_runtime(info.runtime)
    if device != "cpu" and (device not in runtime.devices or not torch.cuda.device_count()):
        require_available(runtime, device)
    return generator.facts


@contextlib.contextmanager
def _torch_as_it_was(device: str) -> Iterator[None]:
    """Whatever the block sets for this process, a training loop goes on with its own threads and TF32."""
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
    """(where, name, value) of what TF32 is set to; the older name can't be read where the newer was set alone."""
    cudnn: Any = torch.backends.cudnn
    found: list[tuple[Any, str, Any]] = []
    for place, newer in ((cudnn, cudnn.conv), (torch.backends.cuda.matmul, torch.backends.cuda.matmul)):
        with contextlib.suppress(RuntimeError):
            found.append((place, "allow_tf32", place.allow_tf32))
        found.append((newer, "fp32_precision", newer.fp32_precision))
    return found


class GeneratorDataset(Dataset[Item]):
    """Map style: any index at any time, so that DataLoader's workers and samplers work.

    Items are float32 (C, H, W) in [-1, 1], with the label beside where the generator has labels.
    """

    def __init__(self, drawing: GeneratorDatasetConfig) -> None:
        self._source = _Source(drawing)

    def __len__(self) -> int:
        return self._source.drawing.length

    def __getitem__(self, index: int) -> Item:
        return self._source.items([index + len(self) if index < 0 else index])[0]

    def __getitems__(self, indices: list[int]) -> list[Item]:
        """What DataLoader asks for a batch: drawn at once, which is several times as fast."""
        return self._source.items(indices)


class GeneratorIterableDataset(IterableDataset[Item]):
    """In order, cut among the ranks of torch.distributed and the workers of a DataLoader: each picture once."""

    def __init__(self, drawing: GeneratorDatasetConfig, rank: int | None = None, world: int | None = None) -> None:
        """rank, world: as torch.distributed has them where it runs, else 0 of 1."""
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
