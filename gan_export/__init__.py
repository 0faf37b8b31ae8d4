"""gan-export: from a GAN checkpoint to a generator you can ship.

`import gan_export` is light: torch and every runtime are imported where they are needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from gan_export.checkpoint import Checkpoint, ReadOptions
    from gan_export.datasets.torch_dataset import GeneratorDataset, GeneratorIterableDataset
    from gan_export.exporters.base import Exporter
    from gan_export.formats.base import Format
    from gan_export.metrics.evaluators import Evaluator
    from gan_export.recognize.builder import Family
    from gan_export.runtimes.base import Runtime
    from gan_export.runtimes.native import Model
    from gan_export.sampling.generator import Label

__version__ = "0.1.0"


def load(path: Path | str, overrides: ReadOptions | None = None) -> Checkpoint:
    """A checkpoint read as data, nothing in it run: `.spec` is the generator, `.weights` its arrays by name.

    Raises GanExportError for what is no generator's checkpoint, NotRecognisedError among them.
    """
    from gan_export import checkpoint

    return checkpoint.read(path, overrides)


def register_architecture(family: Family, before: str | None = None) -> None:
    """Make an architecture known to `load` and every command; docs/adding-an-architecture.md builds one.

    It is tried before the architecture called `before`, or before the generic reading, which comes last.  A package
    does this in the function that its entry point of the group `gan_export.plugins` names.
    Raises GanExportError if its name is taken, or no architecture is called `before`.
    """
    from gan_export.recognize.registry import ARCHS

    ARCHS.add(family, before or next(f.name for f in ARCHS if f.generic))


def register_format(format: Format, exporter: Exporter) -> None:
    """Register a file format and the exporter that writes it, for every command.  CONTRIBUTING.md describes both.

    Formats are tried in the order of registration, and the first that detects a file is its format.  Use
    `register_runtime` for the runtime that loads the files.
    Raises GanExportError if a name is taken, `format.exporter` isn't the exporter's name, or one of the exporter's
    precisions has no tolerance.
    """
    from gan_export.errors import GanExportError, printable
    from gan_export.exporters import EXPORTERS
    from gan_export.formats.registry import FORMATS

    shown = printable(format.name, 60)
    if format.exporter != exporter.name:
        written = printable(format.exporter, 60)
        raise GanExportError(
            f"the format {shown} is written by {written}, not by {printable(exporter.name, 60)}; name the same exporter"
        )
    if lacking := [p for p in exporter.precisions if p not in format.tolerances]:
        raise GanExportError(f"the format {shown} has no tolerance for {printable(', '.join(lacking), 60)}; state one")
    FORMATS.require_free(format.name)
    EXPORTERS.add(exporter)
    FORMATS.add(format)


def register_runtime(runtime: Runtime, before: str | None = None) -> None:
    """Register a runtime for every command and worker process: at the end, or before the runtime named `before`.

    Unless the user names a runtime, a file is loaded by the first one registered for its format.
    Raises GanExportError if its name is taken, or there is no runtime named `before`.
    """
    from gan_export.runtimes import RUNTIMES

    RUNTIMES.add(runtime, before)


def register_evaluator(name: str, load: Callable[[], Evaluator]) -> None:
    """Register a feature extractor or classifier under `name`; `load` is called each time a command needs it.

    Raises GanExportError if the name is taken.
    """
    from gan_export.metrics.evaluators import EVALUATORS, NamedEvaluator

    EVALUATORS.add(NamedEvaluator(name, load))


def open(path: Path | str, *, max_memory: int = 0) -> Model:
    """A `.gan` file, ready to draw from: `gan_export.open("g.gan").generate(seed=7, count=64)`.

    max_memory bounds the engine's transformed weights and scratch in bytes; 0 leaves them free.
    """
    from gan_export.runtimes.native import Model

    return Model(path, max_memory=max_memory)


def dataset(
    path: Path | str,
    *,
    seed: int,
    length: int,
    start: int = 0,
    label: Label = "random",
    psi: float = 1.0,
    transform: Callable[[torch.Tensor], torch.Tensor] | None = None,
    device: str = "cpu",
    threads: int | None = None,
) -> GeneratorDataset:
    """A generator as a map-style torch dataset: item i is image start + i of `seed`, drawn when it is asked for.

    Items are float32 (C, H, W) in [-1, 1], or (picture, label) where the generator has labels.  `stream` gives the
    same pictures as an iterable dataset.  Raises GanExportError for what can't be drawn.
    """
    from pathlib import Path

    from gan_export.datasets.torch_dataset import GeneratorDataset, GeneratorDatasetConfig

    return GeneratorDataset(
        GeneratorDatasetConfig(Path(path), seed, length, start, label, psi, device, threads, transform)
    )


def stream(
    path: Path | str,
    *,
    seed: int,
    length: int,
    start: int = 0,
    label: Label = "random",
    psi: float = 1.0,
    transform: Callable[[torch.Tensor], torch.Tensor] | None = None,
    device: str = "cpu",
    threads: int | None = None,
    rank: int | None = None,
    world: int | None = None,
) -> GeneratorIterableDataset:
    """As `dataset`, in order, each picture once among all ranks and workers.

    rank and world: those of torch.distributed where it runs, without being said.
    """
    from pathlib import Path

    from gan_export.datasets.torch_dataset import GeneratorDatasetConfig, GeneratorIterableDataset

    drawing = GeneratorDatasetConfig(Path(path), seed, length, start, label, psi, device, threads, transform)
    return GeneratorIterableDataset(drawing, rank, world)
