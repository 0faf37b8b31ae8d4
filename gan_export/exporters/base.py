"""The interface of exporters, which write a generator to a file and don't verify it."""

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
from gan_export._lib import extras
from gan_export._lib.schema import decode
from gan_export.checkpoint.exportable import ExpectedOutputs, Exportable, PreparedGenerator, prepare
from gan_export.errors import GanExportError, Topic, UnavailableError, first_line, linked, printable
from gan_export.formats import content, references, tolerance
from gan_export.formats.manifest import OPTIONS_KEY, REFERENCE_SEED, Manifest, joined_values, reference_count

if TYPE_CHECKING:
    from gan_export.graph.signature import Signature

Method = Literal["trace", "script", "freeze"]


@dataclass(frozen=True, slots=True)
class Options:
    """The user's options for an export; each exporter lists the ones it takes.

    precision: of the stored weights and the arithmetic
    output:    "float", or "bytes" for uint8 (N, H, W, C)
    opset:     of ONNX; None for the newest that every current runtime takes
    method:    of TorchScript
    recalibrate: number of latents that BatchNorm's statistics were estimated from, before the export
    embed_weights: C: the weights as constants in the source
    symbol:    C: the prefix of every public name
    sampler:   compute latents from a seed inside the file, and return bytes
    static:    fixed batch size of the graph, None for a free one
    external_data: store ONNX's weights in a second file, as a graph above 2 GB must
    fp16_io:   latents and images in fp16 too, not only the values between them
    device:    of a compiled export
    backend:   of ExecuTorch
    error_budget: native: the maximum rounding of a convolution's algorithm, 0 for any; not an option for users
    arithmetic: native: "float32", or "fast" for products of 16-bit numbers, by which images differ a little
    max_error: the tolerance of a value instead of the verifier's own, in half ranges
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
    arithmetic: Literal["float32", "fast"] = "float32"
    max_error: float | None = None

    def non_defaults(self) -> dict[str, Any]:
        """Return the options that differ from the defaults and change the file, by name."""
        names = [f.name for f in fields(self) if f.name != "max_error" and getattr(self, f.name) != f.default]
        return {name: getattr(self, name) for name in names}


def options_of(given: Mapping[str, Any]) -> Options:
    """Return options by their names; raise GanExportError for an unknown name or a value of another type."""
    return decode(Options, given, "options")


class Exporter(Protocol):
    """An exporter of the registry."""

    @property
    def name(self) -> str:
        """The name in commands."""
        ...

    @property
    def title(self) -> str:
        """The name in tables."""
        ...

    @property
    def suffix(self) -> str:
        """The suffix of the export's name."""
        ...

    @property
    def folder(self) -> bool:
        """Whether the export is a folder; otherwise it is one file or several."""
        ...

    @property
    def runtime(self) -> str:
        """The registry name of the runtime that verifies it."""
        ...

    @property
    def takes(self) -> tuple[str, ...]:
        """The names of the `Options` that it uses."""
        ...

    @property
    def precisions(self) -> tuple[str, ...]: ...

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices on which the export can run: "cpu", "cuda"."""
        ...

    @property
    def runs(self) -> str:
        """The programs that run it, as text."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """The packages that `write` imports, by their import names."""
        ...

    @property
    def install(self) -> str:
        """The arguments of `pip install` for those of `needs` that gan-export doesn't install.

        Empty if there are no such packages.
        """
        ...

    @property
    def compilers(self) -> tuple[str, ...]:
        """The C++ compilers of which `write` needs one, by their program names; empty if it needs none."""
        ...

    @property
    def core(self) -> bool:
        """Whether every architecture is tested with it; other exporters are tested with one."""
        ...

    def write(self, generator: Exportable, target: Path, options: Options) -> Manifest:
        """Write `target` in place, and return its manifest without the contents hash, which `write` below adds.

        A format of several files writes the others beside `target`, with names that begin with its stem; for a format
        that is a folder, `target` may exist if it is empty. The same weights, options and versions give the same bytes,
        whatever the folder and the process.
        Raises GanExportError with the name of a layer that the format doesn't support.
        """
        ...


@runtime_checkable
class PrecisionFallbacks(Protocol):
    """An exporter whose runtime can trade speed for less rounding."""

    def steadier(self, options: Options) -> Iterator[Options]:
        """Yield options to try in turn if images differ, each slower and more exact."""
        ...


def unavailable_reason(exporter: Exporter) -> str:
    """Return why this format can't be written here, with the install command; empty if it can."""
    lacking = [name for name in exporter.needs if not _installed(name)]
    if exporter.compilers and not any(shutil.which(name) for name in exporter.compilers):
        return f"no C++ compiler is on the path; install {' or '.join(exporter.compilers)}"
    if not lacking:
        return ""
    ours = [name for name in lacking if name in extras.EXTRAS]
    others = [name for name in lacking if name not in ours]
    lines = [extras.install_line(ours)] * bool(ours)
    lines += [f"pip install {exporter.install or ' '.join(others)}"] * bool(others)
    return f"{' and '.join(lacking)} not installed; {' && '.join(lines)}"


def require_available(exporter: Exporter) -> None:
    """Raise UnavailableError with the reason if this format can't be written here."""
    if reason := unavailable_reason(exporter):
        raise UnavailableError(f"{exporter.name}: {reason}")


def write(exporter: Exporter, generator: Exportable, target: Path, options: Options) -> Manifest:
    """Call `exporter.write`, and add the contents hash to the manifest.

    Raises UnavailableError for a library that can't be imported, GanExportError for any other error of a library.
    """
    try:
        return content.seal(target, exporter.write(generator, target, options))
    except (GanExportError, OSError, MemoryError):
        raise
    except ImportError as e:
        again = f"; pip install {exporter.install}" if exporter.install else ""
        raise UnavailableError(
            f"{exporter.name} doesn't work with the installed packages: {first_line(e)}{again}"
        ) from e
    except Exception as e:
        why = f"{type(e).__name__}: {first_line(e)}"
        raise GanExportError(f"{exporter.name} can't write this generator: {why}") from e


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # Python's error for a blocked module
        return False


@contextlib.contextmanager
def suppress_warnings() -> Iterator[None]:
    """Suppress the messages and warnings that libraries print at each call."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@linked(Topic.FORMATS)
def check_options(exporter: Exporter, options: Options) -> None:
    """Raise GanExportError for an option that this format doesn't take."""
    for name, value in options.non_defaults().items():
        if name != "recalibrate" and name not in exporter.takes:
            raise GanExportError(
                f"{exporter.name} has no option {name}{'' if value is True else f' {value}'}; leave it out"
            )
    if options.arithmetic not in ("float32", "fast"):
        raise GanExportError(f"arithmetic={printable(str(options.arithmetic), 40)}: it is float32 or fast")
    if options.precision not in exporter.precisions:
        known = ", ".join(exporter.precisions)
        raise GanExportError(f"{exporter.name} has no precision {options.precision}; it has {known}")
    tolerance.rule(exporter.name, options.precision, options.max_error, arithmetic=options.arithmetic)


def make_manifest(exporter: Exporter, generator: Exportable, options: Options, versions: Mapping[str, str]) -> Manifest:
    """Return the manifest of an export of `generator`, with its reference images."""
    explicit = generator.overrides.explicit()
    prepared = prepare(generator)
    images, rounding = _references(prepared)
    return Manifest(
        format=exporter.name,
        arch=generator.arch,
        signature=replace(generator.signature, batch=options.static),
        output=options.output,
        precision=options.precision,
        tolerance=tolerance.rule(
            exporter.name, options.precision, options.max_error, arithmetic=options.arithmetic
        ).given(),
        source_sha256=generator.source.sha256,
        versions={"gan-export": __version__, **versions},
        options=options.non_defaults() | ({OPTIONS_KEY: explicit} if explicit else {}),
        references=images,
        rounding=rounding,
        grades=generator.grades,
        reach=prepared.reach,
    )


def file_signature(generator: Exportable, options: Options) -> Signature:
    """Return the signature of the file to write, with images as bytes if `options` say so."""
    return generator.signature.as_bytes() if options.output == "bytes" else generator.signature


def example_inputs(signature: Signature, batch: int) -> tuple[Any, ...]:
    """Return inputs for tracing, as tensors in order; free sizes differ, so that tracing doesn't identify two."""
    import torch

    sizes = signature.judged_sizes()
    feeds = signature.feeds(0, range(batch), sizes=sizes[min(1, len(sizes) - 1)])
    return tuple(torch.from_numpy(array) for array in feeds.values())


def free_dimensions(signature: Signature, batch: Any) -> tuple[dict[int, Any], ...]:
    """Return torch.export's dynamic shapes, one entry per input: `batch`, and every dimension of a free size."""
    import torch

    return tuple(
        {0: batch} | {1 + i: torch.export.Dim.AUTO for i, d in enumerate(port.shape) if isinstance(d, str)}
        for port in signature.inputs
    )


def expected_references(generator: PreparedGenerator) -> ExpectedOutputs:
    """Return the reference images of a manifest; raises GanExportError for values that are not finite."""
    return generator.batch(REFERENCE_SEED, range(reference_count(generator.signature)))[1]


def _references(generator: PreparedGenerator) -> tuple[str, float]:
    """Return the packed reference images, and the rounding of eager float32 as a manifest states it."""
    signature, expected = generator.signature, expected_references(generator)
    exact, eager = expected.exact, expected.eager
    errors = [
        float(np.abs(eager[p.name] - exact[p.name]).max()) / tolerance.half_range(p.range, exact[p.name])
        for p in signature.outputs
    ]
    return references.pack(joined_values(signature, exact)), tolerance.worth_stating(max(errors))
