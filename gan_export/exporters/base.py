"""What an exporter is: something that writes a generator to a file, and nothing that judges it."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np

from gan_export import __version__
from gan_export.checkpoint.exportable import Exportable, PreparedGenerator, prepare
from gan_export.errors import GanExportError, UnavailableError, first_line
from gan_export.formats import content, references, tolerance
from gan_export.formats.manifest import OPTIONS_KEY, REFERENCE_COUNT, REFERENCE_SEED, Manifest, joined_values

if TYPE_CHECKING:
    from gan_export.graph.signature import Signature

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
    error_budget: native: how much a way to compute a convolution may round, 0 for any; no user gives it
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
    error_budget: float = 0.0
    max_error: float | None = None

    def non_defaults(self) -> dict[str, Any]:
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

    def write(self, generator: Exportable, target: Path, options: Options) -> Manifest:
        """Write `target` in place and give the manifest that it carries, unsealed: `write` below seals it.

        A format of several files writes the others beside `target`, by names that begin with its stem; for one that is
        a folder, `target` may be there, and empty.
        The same weights, options and versions give the same bytes, whatever the folder and the process.
        Raises GanExportError naming the layer that the format can't take.
        """
        ...


@runtime_checkable
class PrecisionFallbacks(Protocol):
    """An exporter whose runtime can trade speed for rounding."""

    def steadier(self, options: Options) -> Iterator[Options]:
        """What to write with in turn, each slower and more exact, where the pictures differ."""
        ...


def unavailable_reason(exporter: Exporter) -> str:
    """Why this format can't be written here, with the install line; empty where it can."""
    lacking = [name for name in exporter.needs if not _installed(name)]
    if exporter.compilers and not any(shutil.which(name) for name in exporter.compilers):
        return f"no C++ compiler is on the path; install {' or '.join(exporter.compilers)}"
    if not lacking:
        return ""
    return f"{' and '.join(lacking)} not installed; pip install {exporter.install or ' '.join(lacking)}"


def require_available(exporter: Exporter) -> None:
    """Raises UnavailableError with the reason where this format can't be written here."""
    if reason := unavailable_reason(exporter):
        raise UnavailableError(f"{exporter.name}: {reason}")


def write(exporter: Exporter, generator: Exportable, target: Path, options: Options) -> Manifest:
    """`exporter.write`, whose libraries may fail in any way, and the hash of what it wrote into the manifest.

    Raises UnavailableError for a library that can't be imported, GanExportError for whatever else is its own.
    """
    try:
        return content.seal(target, exporter.write(generator, target, options))
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
def suppress_warnings() -> Iterator[None]:
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
    for name, value in options.non_defaults().items():
        if name != "recalibrate" and name not in exporter.takes:
            raise GanExportError(f"{exporter.name} takes no {name}{'' if value is True else f' {value}'}; leave it out")
    if options.precision not in exporter.precisions:
        known = ", ".join(exporter.precisions)
        raise GanExportError(f"{exporter.name} has no precision {options.precision}; it has {known}")


def make_manifest(exporter: Exporter, generator: Exportable, options: Options, versions: Mapping[str, str]) -> Manifest:
    """The manifest of an export of `generator`, with its reference images."""
    explicit = generator.overrides.explicit()
    images, rounding = _references(prepare(generator))
    return Manifest(
        format=exporter.name,
        arch=generator.arch,
        signature=replace(generator.signature, batch=options.static),
        output=options.output,
        precision=options.precision,
        tolerance=tolerance.rule(exporter.name, options.precision, options.max_error).given(),
        source_sha256=generator.source.sha256,
        versions={"gan-export": __version__, **versions},
        options=options.non_defaults() | ({OPTIONS_KEY: explicit} if explicit else {}),
        references=images,
        rounding=rounding,
    )


def example_inputs(signature: Signature, batch: int) -> tuple[Any, ...]:
    """Inputs for tracing, as tensors, in order; free sizes are unlike, so that no two are taken for one."""
    import torch

    sizes = signature.judged_sizes()
    feeds = signature.feeds(0, range(batch), sizes=sizes[min(1, len(sizes) - 1)])
    return tuple(torch.from_numpy(array) for array in feeds.values())


def free_dimensions(signature: Signature, batch: Any) -> tuple[dict[int, Any], ...]:
    """What torch.export calls dynamic shapes, an entry per input: `batch` first, and every dimension of a free size."""
    import torch

    return tuple(
        {0: batch} | {1 + i: torch.export.Dim.AUTO for i, d in enumerate(port.shape) if isinstance(d, str)}
        for port in signature.inputs
    )


def _references(generator: PreparedGenerator) -> tuple[str, float]:
    """The reference images, packed, and how far eager float32 is from them as a manifest states it."""
    signature = generator.signature
    _, expected = generator.batch(REFERENCE_SEED, range(REFERENCE_COUNT))
    exact, eager = expected.exact, expected.eager
    errors = [
        float(np.abs(eager[p.name] - exact[p.name]).max()) / tolerance.half_range(p.range, exact[p.name])
        for p in signature.outputs
    ]
    return references.pack(joined_values(signature, exact)), tolerance.worth_stating(max(errors))
