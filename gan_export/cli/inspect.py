"""gan-export inspect: what a checkpoint or an export contains, and how a checkpoint is read by all commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gan_export._lib.escape import json_text
from gan_export.cli import tables
from gan_export.cli.flags import as_flags
from gan_export.cli.options import Strict, reads_checkpoints
from gan_export.cli.say import put, say, suggest, table
from gan_export.cli.steps import Steps
from gan_export.recognize.options import ReadOptions

if TYPE_CHECKING:
    from gan_export.checkpoint import Checkpoint


@reads_checkpoints
def inspect(
    file: Annotated[Path, typer.Argument(help="A checkpoint, or an exported file.")],
    *,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Write a PNG: 8 images under each reading that fits.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    strict: Strict = False,
    overrides: ReadOptions,
) -> None:
    """Show what FILE contains: family, sizes, layers, what was assumed and what was ignored."""
    from gan_export.formats import manifest as manifests

    kind = manifests.detect_format(file)
    if kind != "checkpoint" and overrides != ReadOptions():
        from gan_export.errors import GanExportError

        raise GanExportError(f"{file} is an export, whose settings are fixed: leave out {overrides}")
    if kind != "checkpoint" and out is not None:
        from gan_export.errors import GanExportError

        raise GanExportError(f"{file} is an export, which has only one reading: leave out -o")
    if kind == "checkpoint":
        from gan_export.checkpoint.summary import describe

        if out is not None:
            from gan_export.pipeline import readings

            readings.check_path(out)
        checkpoint = read_checkpoint(file, overrides, strict)
        print_health(checkpoint)
        description = describe(checkpoint)
        if as_json:
            put(json_text(description.to_json(), indent=2))
        else:
            tables.print_description(description)
            suggest("gan-export", "onnx", file)
        if out is not None:
            _write_readings(file, checkpoint, out)
        tables.print_unsettled(checkpoint.reading)
        return
    manifest = manifests.read_manifest(file, kind)
    if manifest is None:
        from gan_export.errors import GanExportError

        raise GanExportError(f"{file} is {kind}, and contains no manifest of gan-export")
    data = json.loads(manifest.to_json())
    if as_json:
        put(json_text(data, indent=2))
        return
    ports = [(port.name, f"{port.kind}, {manifest.signature.describe(port)}") for port in manifest.file_signature()]
    rows = [(k, tables.flat(v)) for k, v in data.items() if k not in ("references", "signature")]
    table(("", ""), [*ports, *rows])
    suggest("gan-export", "verify", file)


def read_checkpoint(file: Path, overrides: ReadOptions, strict: bool) -> Checkpoint:
    from gan_export import checkpoint
    from gan_export.errors import printable

    progress = Steps()
    try:
        read = checkpoint.read(file, overrides, progress.after_a_second())
    finally:
        progress.hide()
    if strict:
        checkpoint.check_strictly(read)
    tables.warn_of_code(read.source)
    for note in read.reading.notes:
        say(f"note: {printable(note, limit=500)}", error=True)
    for alternative in read.reading.alternatives:
        line = f"it could also be {alternative.title}; choose that with {alternative.option}"
        say(f"note: {printable(line, limit=500)}", error=True)
    return read


def _write_readings(file: Path, checkpoint: Checkpoint, out: Path) -> None:
    from gan_export import checkpoint as checkpoints
    from gan_export.pipeline import readings

    def read(options: ReadOptions) -> Checkpoint:
        return checkpoints.read(file, options, by_evidence=False)

    found = readings.write(out, checkpoint, read, as_flags)
    say(f"wrote {out}: {len(found)} readings, each below its flags", error=True)


def print_health(checkpoint: Checkpoint) -> None:
    from gan_export._lib.extras import missing
    from gan_export.verification import batchnorm

    if reason := missing("torch"):
        say(f"note: BatchNorm's statistics are not checked: {reason}", error=True)
        return
    open_choices = tuple(a.option for a in checkpoint.reading.unsettled if a.option != "output=")
    if line := batchnorm.warning(batchnorm.check(checkpoint), open_choices):
        say(f"warning: {line}", error=True)
