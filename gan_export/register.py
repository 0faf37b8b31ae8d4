"""Registering what a package of your own adds: architectures, formats, runtimes and evaluators."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gan_export.errors import GanExportError, printable

if TYPE_CHECKING:
    from gan_export.exporters.base import Exporter
    from gan_export.formats.base import Format
    from gan_export.metrics.evaluators import Evaluator
    from gan_export.recognize.draft import Family
    from gan_export.runtimes.base import Runtime


def register_architecture(family: Family, before: str | None = None) -> None:
    """Register an architecture for `load` and every command; docs/adding-an-architecture.md builds one.

    It is tried before the architecture called `before`, or before the generic reading, which comes last.  A package
    does this in the function that its entry point of the group `gan_export.plugins` names.
    Raises GanExportError if its name is taken, or there is no architecture named `before`.
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
