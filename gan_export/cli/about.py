"""`gan-export list` and `gan-export doctor`: what this installation can do on this machine."""

from __future__ import annotations

import platform
from typing import Annotated

import typer

from gan_export.cli.say import put, say, suggest, table
from gan_export.errors import GanExportError, printable

_OPTIONAL = (
    "torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu", "openvino", "ncnn", "pnnx",
    "litert-torch", "ai-edge-litert", "executorch", "coremltools", "matplotlib", "av", "pyarrow", "fsspec", "ray",
    "fastapi", "tensorboard",
)  # fmt: skip
_REQUIRED = ("numpy", "pillow", "typer", "rich")


def complete_format(incomplete: str) -> list[str]:
    """Return the names of formats that begin with `incomplete`, for a shell."""
    from gan_export.exporters import EXPORTERS

    return [exporter.name for exporter in EXPORTERS if exporter.name.startswith(incomplete)]


def list_formats(
    what: Annotated[str, typer.Argument(metavar="formats|families", help="What to list.")] = "formats",
    *,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a Markdown table, the same on every machine.")
    ] = False,
) -> None:
    """List the formats and whether each can be written and verified here, or the families that are recognized."""
    from gan_export.pipeline import table as format_table

    if what == "families":
        if markdown:
            raise GanExportError("--markdown prints the table of formats; leave it out for families")
        _list_families()
        return
    if what != "formats":
        raise GanExportError(f"list {printable(what, 40)}: must be formats or families")
    if markdown:
        put(format_table.markdown())
        return
    rows, notes = [], []
    for line in format_table.lines():
        e = line.exporter
        here = "no" if line.reason else "not verified" if line.unproven else "yes"
        rows.append((e.name, e.suffix, ", ".join(e.precisions), line.devices, here))
        why = f"; {line.reason or line.unproven}" if line.reason or line.unproven else ""
        notes.append((e.name, f"{e.title}, run by {e.runs}{why}"))
    table(("format", "suffix", "precisions", "on", "here"), rows, whole_first=True)
    table(("format", "what it is, what runs it, and why it can't be written or verified here"), notes, whole_first=True)
    suggest("gan-export", "onnx", "CHECKPOINT")


def doctor() -> None:
    """Show versions, processor, GPU, and which formats can be written and verified here, to paste into a report."""
    from gan_export import __version__
    from gan_export.bench import environment

    machine = environment.describe()
    rows = [
        ("gan-export", f"{__version__}" + (f", commit {found[:12]}" if (found := environment.commit()) else "")),
        ("Python", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("system", machine.system),
        ("processor", machine.cpu),
        ("instructions", ", ".join(machine.flags) or "unknown"),
        ("cores", f"{machine.usable} of {machine.cores} usable"),
        ("memory", f"{machine.memory / 2**30:.1f} GiB" if machine.memory else "unknown"),
        ("GPU", f"{machine.gpu}, driver {machine.gpu_driver}" if machine.gpu else "none"),
        ("C engine", _engine()),
        ("compiler", _compiler()),
    ]
    table(("", ""), rows, whole_first=True)
    _packages()
    _formats()
    suggest("gan-export", "list")


def _list_families() -> None:
    from gan_export.recognize.registry import ARCHS

    rows = [(family.name, family.source + (" (a generic reading)" if family.generic else "")) for family in ARCHS]
    table(("family", "whose files"), rows, whole_first=True)
    suggest("gan-export", "inspect", "CHECKPOINT")


def _engine() -> str:
    from gan_export import runtimes
    from gan_export.runtimes import native_library

    found = runtimes.find("native").availability()
    return (
        f"{native_library.engine_version()} in {native_library.library_path().name}"
        if found.ok
        else f"not usable: {found.reason}"
    )


def _compiler() -> str:
    from gan_export import runtimes

    found = runtimes.find("c").availability()
    return "found" if found.ok else found.reason


def _packages() -> None:
    from importlib import metadata

    def version(name: str) -> str:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return "not installed"

    rows = [(name, version(name)) for name in (*_REQUIRED, *_OPTIONAL)]
    installed = [row for row in rows if row[1] != "not installed"]
    table(("package", "version"), installed, whole_first=True)
    names = {name for name, _ in installed}
    missing = [name for name, _ in rows if name not in names and (name + "-gpu") not in names]
    if missing:
        say(f"not installed: {', '.join(missing)}")


def _formats() -> None:
    from gan_export.pipeline import table as format_table

    rows = []
    for line in format_table.lines():
        written = "yes" if line.available else "no"
        verified = "no" if line.reason or line.unproven else "yes"
        rows.append((line.exporter.name, written, verified, line.reason or line.unproven))
    table(("format", "written", "verified", "why not"), rows, whole_first=True)
