"""What an exporter is: something that writes a generator to a file, and nothing that judges it."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from gan_export import __version__, content, references, tolerance
from gan_export.arch.spec import GeneratorSpec
from gan_export.artifact import SAID, Facts, Manifest, reference_inputs
from gan_export.errors import GanExportError, UnavailableError, first_line

if TYPE_CHECKING:
    from torch import fx

    from gan_export.checkpoint import Checkpoint

Method = Literal["trace", "script", "freeze"]


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may ask of a format; each exporter names those that it takes.

    precision: of the stored weights and the arithmetic
    output:    "float", or "bytes" for uint8 (N, H, W, C)
    opset:     ONNX's, None for the newest that every current runtime takes
    method:    TorchScript's
    recalibrate: number of latents that BatchNorm's statistics were estimated from, before this exporter came in
    embed_weights: C: the weights as constants in the source
    symbol:    C: what every public name begins with
    sampler:   draw from a seed inside the file, to bytes
    static:    number of pictures that the graph is fixed to, None for a free batch
    external_data: keep ONNX's weights in a second file, as a graph above 2 GB must
    fp16_io:   latents and pictures in fp16 too, not only what lies between
    device:    that it is compiled for, where a format compiles
    backend:   ExecuTorch's
    points:    native: a side of the largest transform that the engine may take, 0 for any; never asked by a user
    max_error: the error of a value that is allowed instead of the verifier's own, in half ranges
    """

    precision: str = "fp32"
    output: Literal["float", "bytes"] = "float"
    opset: int | None = None
    method: Method = "freeze"
    recalibrate: int | None = None
    embed_weights: bool = False
    symbol: str = "generator"
    sampler: bool = False
    static: int | None = None
    external_data: bool = False
    fp16_io: bool = False
    device: str = "cpu"
    backend: str = "xnnpack"
    points: int = 0
    max_error: float | None = None

    def asked(self) -> dict[str, Any]:
        """What differs from the defaults in the file itself, by name."""
        names = [f.name for f in fields(self) if f.name != "max_error" and getattr(self, f.name) != f.default]
        return {name: getattr(self, name) for name in names}


class Exporter(Protocol):
    """One entry of `EXPORTERS`."""

    @property
    def name(self) -> str:
        """What the commands call it."""
        ...

    @property
    def title(self) -> str:
        """What a table calls it."""
        ...

    @property
    def suffix(self) -> str:
        """What the name of what it writes ends in."""
        ...

    @property
    def folder(self) -> bool:
        """Whether it writes a folder; else a file, or several."""
        ...

    @property
    def runtime(self) -> str:
        """The runtime that proves it, by its name in the runtimes' registry."""
        ...

    @property
    def takes(self) -> tuple[str, ...]:
        """The names of the `Options` that it heeds."""
        ...

    @property
    def precisions(self) -> tuple[str, ...]: ...

    @property
    def devices(self) -> tuple[str, ...]:
        """Where the artifact can run: "cpu", "cuda"."""
        ...

    @property
    def runs(self) -> str:
        """What runs it, in words."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """The packages that writing imports, by the names that Python knows them by."""
        ...

    @property
    def install(self) -> str:
        """What follows `pip install` to get those of `needs` that gan-export itself doesn't bring; else empty."""
        ...

    @property
    def compilers(self) -> tuple[str, ...]:
        """The C++ compilers of which writing needs one, by the names of their programs; empty where it needs none."""
        ...

    @property
    def core(self) -> bool:
        """Whether every architecture is tested in it; the others are tested with one."""
        ...

    def write(self, checkpoint: Checkpoint, target: Path, options: Options) -> Manifest:
        """Write `target` in place and give the manifest that it carries, unsealed: `write` below seals it.

        A format of several files writes the others beside `target`, by names that begin with its stem; for one that is
        a folder, `target` may be there, and empty.
        The same checkpoint, options and versions give the same bytes, whatever the folder and the process.
        Raises GanExportError naming the layer that the format can't take.
        """
        ...


@runtime_checkable
class Steadier(Protocol):
    """An exporter whose runtime can trade speed for rounding."""

    def steadier(self, options: Options) -> Iterator[Options]:
        """What to write with in turn, each slower and more exact, where the pictures differ."""
        ...


def missing(exporter: Exporter) -> str:
    """Why this format can't be written here, with the install line; empty where it can."""
    lacking = [name for name in exporter.needs if not _installed(name)]
    if exporter.compilers and not any(shutil.which(name) for name in exporter.compilers):
        return f"no C++ compiler is on the path; install {' or '.join(exporter.compilers)}"
    if not lacking:
        return ""
    return f"{' and '.join(lacking)} not installed; pip install {exporter.install or ' '.join(lacking)}"


def require(exporter: Exporter) -> None:
    """Raises UnavailableError with the reason where this format can't be written here."""
    if reason := missing(exporter):
        raise UnavailableError(f"{exporter.name}: {reason}")


def write(exporter: Exporter, checkpoint: Checkpoint, target: Path, options: Options) -> Manifest:
    """`exporter.write`, whose libraries may fail in any way, and the hash of what it wrote into the manifest.

    Raises UnavailableError for a library that can't be imported, GanExportError for whatever else is its own.
    """
    try:
        return content.seal(target, exporter.write(checkpoint, target, options))
    except (GanExportError, OSError, MemoryError):
        raise
    except ImportError as e:
        again = f"; pip install {exporter.install}" if exporter.install else ""
        raise UnavailableError(
            f"{exporter.name} can't be loaded beside what is installed: {first_line(e)}{again}"
        ) from e
    except Exception as e:
        why = f"{type(e).__name__}: {first_line(e)}"
        raise GanExportError(f"{exporter.name} can't write this generator: {why}") from e


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # what Python says of a module that was blocked
        return False


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the advice that libraries log or warn of at each call."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def check_options(exporter: Exporter, options: Options) -> None:
    """Raises GanExportError for an option that this format doesn't take."""
    for name, value in options.asked().items():
        if name != "recalibrate" and name not in exporter.takes:
            raise GanExportError(f"{exporter.name} takes no {name}{'' if value is True else f' {value}'}; leave it out")
    if options.precision not in exporter.precisions:
        known = ", ".join(exporter.precisions)
        raise GanExportError(f"{exporter.name} has no precision {options.precision}; it has {known}")


def make_manifest(
    exporter: Exporter, checkpoint: Checkpoint, options: Options, versions: Mapping[str, str]
) -> Manifest:
    """The manifest of an export of `checkpoint`; its reference images are computed here, in float64."""
    facts = Facts.of(checkpoint.spec)
    said = checkpoint.overrides.said()
    images, rounding = _references(checkpoint, facts)
    return Manifest(
        format=exporter.name,
        facts=facts,
        output=options.output,
        precision=options.precision,
        tolerance=tolerance.rule(exporter.name, options.precision, options.max_error).given(),
        source_sha256=checkpoint.source.sha256,
        versions={"gan-export": __version__, **versions},
        options=options.asked() | ({SAID: said} if said else {}),
        references=images,
        rounding=rounding,
    )


def lowered_module(checkpoint: Checkpoint, output: Literal["float", "bytes"]) -> fx.GraphModule:
    """The generator to export: BatchNorm folded, in evaluation mode, giving floats or bytes."""
    from gan_export.lowering import lower
    from gan_export.module import to_module

    return to_module(*lower(checkpoint.spec, checkpoint.weights), output=output)


def example_inputs(spec: GeneratorSpec, batch: int) -> tuple[Any, ...]:
    """Prior latents, and labels where the generator has them, as tensors for tracing."""
    import torch

    from gan_export import latents

    z = torch.from_numpy(latents.draw(0, 0, batch, spec.nz, spec.prior))
    return (z, torch.arange(batch) % spec.classes) if spec.classes else (z,)


def _references(checkpoint: Checkpoint, facts: Facts) -> tuple[str, float]:
    """The reference images, packed, and how far eager float32 is from them as a manifest states it."""
    import numpy as np
    import torch

    from gan_export.module import to_module

    z, labels = reference_inputs(facts)
    given = torch.from_numpy(z)
    rest = [torch.from_numpy(labels)] if labels is not None else []
    module = to_module(checkpoint.spec, checkpoint.weights)
    with torch.inference_mode():
        eager = module(given, *rest).numpy()
        exact = module.double()(given.double(), *rest).numpy()
    error = float(np.abs(eager - exact).max()) / tolerance.half_range(facts.range, exact)
    return references.pack(exact), tolerance.worth_stating(error)
