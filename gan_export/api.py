"""The library's public functions; `import gan_export` offers each of them.

Importing this module is light: torch and every runtime are imported when a function needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Unpack

    import numpy as np
    import numpy.typing as npt
    import torch

    from gan_export.checkpoint import Checkpoint as Checkpoint
    from gan_export.checkpoint.exportable import Exportable
    from gan_export.datasets.torch_dataset import GeneratorDataset, GeneratorIterableDataset
    from gan_export.graph.ports import Normal as Normal
    from gan_export.graph.ports import Port as Port
    from gan_export.graph.ports import Size as Size
    from gan_export.graph.ports import Uniform as Uniform
    from gan_export.graph.signature import Signature as Signature
    from gan_export.metrics.comparison import Comparison as Comparison
    from gan_export.metrics.digits import Report as Report
    from gan_export.pipeline.publish import ExportResult as ExportResult
    from gan_export.pipeline.publish import Verification as Verification
    from gan_export.recognize.options import ReadOptions, ReadSettings
    from gan_export.sampling.generator import Generator as Generator
    from gan_export.sampling.generator import Label, LabelsOrChoice
    from gan_export.training.distill.events import Event as DistillEvent
    from gan_export.training.events import Event
    from gan_export.training.run_dir import DistillResult as DistillResult
    from gan_export.training.run_dir import TrainResult as TrainResult
    from gan_export.verification.compare import ParityError as ParityError

# The public types, and the modules that define them.
TYPES = {
    "Checkpoint": "gan_export.checkpoint",
    "Comparison": "gan_export.metrics.comparison",
    "DistillResult": "gan_export.training.run_dir",
    "ExportResult": "gan_export.pipeline.publish",
    "Generator": "gan_export.sampling.generator",
    "Normal": "gan_export.graph.ports",
    "ParityError": "gan_export.verification.compare",
    "Port": "gan_export.graph.ports",
    "Report": "gan_export.metrics.digits",
    "Signature": "gan_export.graph.signature",
    "Size": "gan_export.graph.ports",
    "TrainResult": "gan_export.training.run_dir",
    "Uniform": "gan_export.graph.ports",
    "Verification": "gan_export.pipeline.publish",
}


def public_type(name: str) -> Any:
    """Return the public type called `name`, a key of `TYPES`, which imports its module."""
    import importlib

    return getattr(importlib.import_module(TYPES[name]), name)


def load(path: Path | str, **overrides: Unpack[ReadSettings]) -> Checkpoint:
    """Read a checkpoint as data, without running anything in it: `load("g.pth", slope=0.1, key="GAN.G")`.

    overrides: settings that the file doesn't state; docs/checkpoints.md lists them.  `.spec` is the generator,
    `.weights` its arrays by name.
    Raises GanExportError if the file is not a generator's checkpoint, NotRecognizedError if no architecture fits.
    """
    from gan_export import checkpoint

    return checkpoint.read(path, _read_options(overrides))


def export(
    generator: Path | str | Checkpoint | torch.nn.Module,
    format: str,
    target: Path | str | None = None,
    *,
    signature: Signature | None = None,
    progress: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> ExportResult:
    """Export a generator to a file, load the file in its own runtime in a fresh process, compare, then publish it.

    generator: a checkpoint's path, what `load` returned, or a module of your own, which is left as it is
    format:    "onnx", "torchscript", "pt2", "openvino", "native", "c", ...: a name of `gan-export list`
    target:    by default the checkpoint's path with the format's suffix; needed for a module
    signature: of a module; one latent z and one output if not given, whose sizes are found by trying
    options:   of the format: `precision="fp16"`, `output="bytes"`, `sampler=True`, ...
    Raises ParityError, with `target` as it was, if the export differs; GanExportError for what can't be exported.
    """
    from pathlib import Path

    from gan_export import exporters
    from gan_export._lib.extras import explained
    from gan_export.errors import GanExportError
    from gan_export.exporters.base import options_of
    from gan_export.pipeline import files, publish

    exporter, chosen = exporters.find(format), options_of(options)
    with explained("an export"):
        exportable = _exportable(generator, signature)
        if target is None:
            if not isinstance(generator, str | Path):
                raise GanExportError("target: name the file to write; only a checkpoint's path has a default")
            target = files.default_target(Path(generator), exporter.suffix)
        return publish.export(exportable, exporter, Path(target), chosen, progress=progress)


def verify(
    artifact: Path | str,
    generator: Path | str | Checkpoint | torch.nn.Module | None = None,
    *,
    signature: Signature | None = None,
    precision: str | None = None,
    max_error: float | None = None,
) -> Verification:
    """Run an export in its own runtime, in a fresh process, against its generator or its own reference images.

    generator, signature: as of `export`; without a generator, the reference images in the file are used, and only if
    its contents are as they were exported.  The tolerance is that of `precision`, or of what the file states that it
    is; `max_error`, in half ranges, replaces it.  The result's `.passed` says whether it generates the same images.
    Raises CheckFailedError for altered contents, GanExportError for what is no export or can't be run.
    """
    from pathlib import Path

    from gan_export._lib.extras import explained
    from gan_export.pipeline import publish

    with explained("a verification"):
        against = None if generator is None else _exportable(generator, signature)
        return publish.verify(Path(artifact), against, precision=precision, max_error=max_error)


def open(
    path: Path | str,
    *,
    runtime: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    max_memory: int = 0,
    latent_scale: float = 1.0,
    **overrides: Unpack[ReadSettings],
) -> Generator:
    """Load a checkpoint or an export of any format: `with gan_export.open("g.onnx") as g: g.sample(64, seed=7)`.

    runtime:      a name of `gan-bench list`; by default the first that runs files of its kind
    threads:      of the runtime, by default its own choice
    max_memory:   bound in bytes of the C engine's transformed weights and scratch memory, for `.gan`; 0 for none
    latent_scale: what `sample` multiplies latents by, 0 (the mean image) to 1 (as trained)
    overrides:    as of `load`, for a checkpoint
    Raises GanExportError for a file that no runtime takes, UnavailableError for a runtime that is not installed.
    """
    from pathlib import Path

    from gan_export._lib.extras import explained
    from gan_export.sampling.opening import open_generator

    with explained("this file"):
        return open_generator(
            Path(path),
            _read_options(overrides),
            runtime=runtime,
            device=device,
            threads=threads,
            max_memory=max_memory,
            latent_scale=latent_scale,
        )


def sample(
    generator: Path | str,
    count: int = 64,
    *,
    seed: int = 0,
    start: int = 0,
    labels: LabelsOrChoice = "random",
    latent_scale: float = 1.0,
    device: str = "cpu",
    **overrides: Unpack[ReadSettings],
) -> npt.NDArray[np.uint8]:
    """Return images start .. start+count-1 of `seed` by a checkpoint or an export, uint8 (count, H, W, C).

    `open(...).sample(...)` in one call; image i of a seed is the same in every runtime, at any count, on any machine.
    """
    with open(generator, device=device, latent_scale=latent_scale, **overrides) as opened:
        return opened.sample(count, seed=seed, start=start, labels=labels)


@overload
def evaluate(
    generator: Path | str,
    count: int = 10_000,
    *,
    features: None = None,
    seed: int = 1,
    device: str = "cpu",
    **overrides: Unpack[ReadSettings],
) -> Report: ...
@overload
def evaluate(
    generator: Path | str,
    count: int = 10_000,
    *,
    features: str | Path,
    reference: str | Path,
    resize: bool = False,
    weights: Path | str | None = None,
    seed: int = 1,
    device: str = "cpu",
    **overrides: Unpack[ReadSettings],
) -> Comparison: ...
def evaluate(
    generator: Path | str,
    count: int = 10_000,
    *,
    features: str | Path | None = None,
    reference: str | Path | None = None,
    resize: bool = False,
    weights: Path | str | None = None,
    seed: int = 1,
    device: str = "cpu",
    **overrides: Unpack[ReadSettings],
) -> Report | Comparison:
    """Measure images of a generator against real ones: Frechet distance, precision, recall, coverage.

    features:  "inception", an evaluator of a plugin, or an ONNX file from images to features; without it, `generator`
               must generate digits, which the bundled classifier compares with MNIST's
    reference: a folder of real images, or statistics that `gan-sample evaluate --write-reference` wrote
    resize:    crop and resize the images of the folder to the generator's size
    weights:   the file of Inception's weights
    Images have equally many labels of each class.  A `Report` states the same figures of real digits beside each.
    Raises GanExportError for images that the features can't be computed of, and for a reference of another size.
    """
    from pathlib import Path

    from gan_export.errors import GanExportError
    from gan_export.pipeline import evaluate as evaluation

    if count < evaluation.LEAST:
        raise GanExportError(f"count={count}: must be at least {evaluation.LEAST}")
    if (features is None) != (reference is None):
        raise GanExportError("features= and reference= go together: features need real images to compare with")
    with open(generator, device=device, **overrides) as opened:
        if features is None or reference is None:
            return evaluation.evaluate(opened, count, seed)
        from gan_export.metrics import evaluators
        from gan_export.metrics import reference as references
        from gan_export.pipeline import compare

        evaluator, against = evaluators.find(str(features), None if weights is None else Path(weights)), Path(reference)
        if against.is_dir():
            known = compare.measure_folder(against, evaluator, opened.image, resize=resize)
        else:
            known = references.load(against)
        return compare.compare(opened, evaluator, known, count=count, seed=seed)


def train(
    recipe: Path | str,
    folder: Path | str,
    *,
    settings: Mapping[str, Any] | None = None,
    data_root: Path | str | None = None,
    observe: Callable[[Event], None] = lambda _: None,
) -> TrainResult:
    """Train a generator by a recipe, a name of `gan-train list` or a TOML file, into the new folder `folder`.

    settings: fields of the recipe, such as {"train.epochs": 5, "data.path": "faces"}
    observe:  is called with each event of the run: losses, measurements, files written, warnings
    Raises GanExportError for bad input before anything is written, CheckFailedError if the training diverges.
    """
    import json
    from pathlib import Path

    from gan_export._lib.extras import explained, require_training
    from gan_export.training import recipe as recipes
    from gan_export.training import run_dir

    into = Path(folder)
    read = recipes.load(str(recipe), [f"{k}={json.dumps(v, default=str)}" for k, v in (settings or {}).items()])
    run_dir.check_new(into)
    require_training()
    with explained("training"):
        from gan_export.training import trainer

        options = trainer.Options(None if data_root is None else Path(data_root), observe=observe)
        ended = trainer.train(read, into, options)
    made = run_dir.checkpoint(into, "generator", ended.epoch)
    return run_dir.TrainResult(into, made, ended.step, ended.epoch, ended.seconds)


def distill(
    teacher: Path | str,
    folder: Path | str,
    *,
    channels: float = 0.5,
    without: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    data_root: Path | str | None = None,
    observe: Callable[[DistillEvent], None] = lambda _: None,
    **overrides: Unpack[ReadSettings],
) -> DistillResult:
    """Train a smaller generator, the student, to generate the images of `teacher`, in the new folder `folder`.

    channels:  share of the teacher's channels in every hidden layer, over 0 and at most 1
    without:   layers that the student doesn't have: sums of residual blocks, and layers with weights
    settings:  further fields, such as {"train.steps": 4000, "student.widths.convt0": 96}; docs/training.md has all
    data_root: folder of torchvision's datasets, for data.source; no data is needed
    observe:   is called with each event of the run
    overrides: as of `load`, for the teacher
    Raises GanExportError for bad input before anything is written, CheckFailedError if the training diverges.
    """
    import json
    from pathlib import Path

    from gan_export._lib.extras import explained, require_training
    from gan_export.training import run_dir
    from gan_export.training.distill import recipe as recipes

    into = Path(folder)
    fields = {"student.channels": channels, "student.without": list(without), **(settings or {})}
    read = recipes.load(None, [f"{k}={json.dumps(v, default=str)}" for k, v in fields.items()])
    run_dir.check_new(into)
    require_training()
    with explained("training"):
        from gan_export.training.distill import trainer

        options = trainer.Options(None if data_root is None else Path(data_root), observe=observe)
        done = trainer.distill(read, Path(teacher), load(teacher, **overrides), into, options)
    return done.result()


def _read_options(overrides: ReadSettings) -> ReadOptions:
    """Return overrides as options.  Raises GanExportError, with the nearest name, for one that there is not."""
    from dataclasses import fields

    from gan_export._lib.registry import hint
    from gan_export.errors import GanExportError, printable
    from gan_export.recognize.options import ReadOptions

    known = [f.name for f in fields(ReadOptions)]
    if unknown := next((name for name in overrides if name not in known), None):
        raise GanExportError(f"no override is called {printable(unknown, 60)}; {hint(unknown, known)}")
    return ReadOptions(**overrides)


def _exportable(generator: Path | str | Checkpoint | torch.nn.Module, signature: Signature | None) -> Exportable:
    from pathlib import Path

    from gan_export.checkpoint import Checkpoint
    from gan_export.errors import GanExportError

    if isinstance(generator, str | Path | Checkpoint):
        if signature is not None:
            raise GanExportError("signature: only a module of your own takes one; a checkpoint has its own")
        return generator if isinstance(generator, Checkpoint) else load(generator)
    from gan_export.checkpoint import user_module

    return user_module.from_module(generator, signature)


def dataset(
    path: Path | str,
    *,
    seed: int,
    length: int,
    start: int = 0,
    labels: Label = "random",
    latent_scale: float = 1.0,
    transform: Callable[[torch.Tensor], torch.Tensor] | None = None,
    device: str = "cpu",
    threads: int | None = None,
) -> GeneratorDataset:
    """Return a map-style torch dataset of a generator: item i is image start + i of `seed`, generated on access.

    Items are float32 (C, H, W) in [-1, 1], or (image, label) if the generator has labels.  `stream` returns the same
    images as an iterable dataset.  Raises GanExportError if the file can't generate them.
    """
    from pathlib import Path

    from gan_export._lib.extras import explained

    with explained("a torch dataset"):
        from gan_export.datasets.torch_dataset import GeneratorDataset, GeneratorDatasetConfig

    return GeneratorDataset(
        GeneratorDatasetConfig(Path(path), seed, length, start, labels, latent_scale, device, threads, transform)
    )


def stream(
    path: Path | str,
    *,
    seed: int,
    length: int,
    start: int = 0,
    labels: Label = "random",
    latent_scale: float = 1.0,
    transform: Callable[[torch.Tensor], torch.Tensor] | None = None,
    device: str = "cpu",
    threads: int | None = None,
    rank: int | None = None,
    world: int | None = None,
) -> GeneratorIterableDataset:
    """Return an iterable torch dataset of the same images in order, each once among all ranks and workers.

    rank and world: by default those of torch.distributed if it is initialized.
    """
    from pathlib import Path

    from gan_export._lib.extras import explained

    with explained("a torch dataset"):
        from gan_export.datasets.torch_dataset import GeneratorDatasetConfig, GeneratorIterableDataset

    drawing = GeneratorDatasetConfig(Path(path), seed, length, start, labels, latent_scale, device, threads, transform)
    return GeneratorIterableDataset(drawing, rank, world)
