"""gan-export FORMAT CHECKPOINT: export, prove, publish."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gan_export._lib.escape import json_text
from gan_export.cli import common, modules, tables
from gan_export.cli.options import Out, Strict, reads_checkpoints
from gan_export.cli.say import put, say, table
from gan_export.recognize.options import ReadOptions

if TYPE_CHECKING:
    from gan_export.checkpoint import Checkpoint
    from gan_export.checkpoint.exportable import Exportable
    from gan_export.exporters.base import Options
    from gan_export.pipeline.files import Outcome

HELP = """Export a GAN generator from its checkpoint, and verify that the export generates the same images.

\b
gan-export onnx g.pth            write g.onnx beside g.pth
gan-export onnx g.pth --sampler  write g.sampler.onnx, which takes a seed instead of latents
gan-export torchscript g.pth     write g.pt
gan-export c g.pth -o DIR        plain C99 without dependencies
gan-export all g.pth -o DIR      every format that can be written here
gan-export web g.pth -o SITE     a web page that generates images in the browser
gan-export list                  list the formats
gan-export inspect g.pth         show what a checkpoint contains
gan-export verify g.onnx g.pth   compare an export with its checkpoint
"""
app = common.new_app(HELP, default="export")

CheckpointFile = Annotated[Path, typer.Argument(help="A generator's checkpoint: .pth, .pt, .ckpt, .safetensors ...")]
Method = Annotated[str, typer.Option("--method", help="TorchScript: trace, script or freeze.")]
Opset = Annotated[int | None, typer.Option("--opset", help="ONNX: 18 to 24.", show_default="18")]
Uint8 = Annotated[bool, typer.Option("--uint8", help="Output uint8 (N, H, W, C) instead of floats in [-1, 1].")]
Precision = Annotated[str, typer.Option("--precision", help="fp32, or fp16, bf16 or int8 if the format supports it.")]
Static = Annotated[int | None, typer.Option("--static", help="ONNX: fix the batch size at N.", metavar="N")]
ExternalData = Annotated[
    bool, typer.Option("--external-data", help="ONNX: put weights in a second file (always so above 2 GB).")
]
Fp16Io = Annotated[bool, typer.Option("--fp16-io", help="With --precision fp16: latents and images in fp16 too.")]
EmbedWeights = Annotated[bool, typer.Option("--embed-weights", help="C: store the weights as constants in the source.")]
Symbol = Annotated[str, typer.Option("--symbol", help="C: prefix of the files and of every public name.")]
Recalibrate = Annotated[
    int | None, typer.Option("--recalibrate", help="Estimate BatchNorm's statistics again from N latents.", metavar="N")
]
Sampler = Annotated[
    bool,
    typer.Option("--sampler", help="Put the latents into the file: it takes seed, start and count, and gives uint8."),
]
Device = Annotated[str, typer.Option("--device", help="AOTInductor: device to compile for, cpu or cuda.")]
Backend = Annotated[str, typer.Option("--backend", help="ExecuTorch: xnnpack, or portable (its own kernels).")]
Module = Annotated[
    str | None,
    typer.Option(
        "--module", help="The class of the checkpoint; its code is imported and run.", metavar="PKG.MOD:CLASS"
    ),
]
Kwargs = Annotated[
    str | None, typer.Option("--kwargs", help="Arguments of the class's constructor, as JSON.", metavar='{"nz": 100}')
]
PythonPath = Annotated[
    list[Path] | None, typer.Option("--pythonpath", help="A folder that contains the code of --module.", metavar="DIR")
]
SignatureFile = Annotated[
    Path | None,
    typer.Option(
        "--signature", help="Inputs and outputs of --module, in TOML.", metavar="FILE.toml", show_default="one latent z"
    ),
]
MaxError = Annotated[
    float | None,
    typer.Option(
        "--max-error",
        help="Largest error allowed in a value, in half ranges.  The precision sets the default.",
        show_default=False,
    ),
]


@app.command(hidden=True)
@reads_checkpoints
def export(
    format: Annotated[str, typer.Argument(help="A format's name, see `gan-export list`.")],
    file: CheckpointFile,
    *,
    out: Out = None,
    opset: Opset = None,
    uint8: Uint8 = False,
    method: Method = "freeze",
    precision: Precision = "fp32",
    embed_weights: EmbedWeights = False,
    symbol: Symbol = "generator",
    static: Static = None,
    external_data: ExternalData = False,
    fp16_io: Fp16Io = False,
    recalibrate: Recalibrate = None,
    max_error: MaxError = None,
    sampler: Sampler = False,
    device: Device = "cpu",
    backend: Backend = "xnnpack",
    strict: Strict = False,
    module: Module = None,
    kwargs: Kwargs = None,
    pythonpath: PythonPath = None,
    signature: SignatureFile = None,
    overrides: ReadOptions,
) -> None:
    """Export FILE to FORMAT.  The target is written only if the export generates the same images."""
    from gan_export.pipeline import files

    options = _options(
        opset=opset, uint8=uint8, method=method, precision=precision, static=static, external_data=external_data,
        fp16_io=fp16_io, recalibrate=recalibrate, max_error=max_error, embed_weights=embed_weights, symbol=symbol,
        sampler=sampler, device=device, backend=backend,
    )  # fmt: skip
    checkpoint: Checkpoint | None = None

    def read() -> Exportable:
        nonlocal checkpoint
        if module is not None:
            user = modules.read(
                file, module, overrides, kwargs=kwargs, search=pythonpath or (), signature=signature, strict=strict
            )
            modules.print_assumed(user)
            return user
        modules.refuse_alone(kwargs, pythonpath, signature)
        checkpoint = _read(file, overrides, strict)
        if recalibrate is None:
            _print_health(checkpoint)
        return checkpoint

    with _progress() as progress:
        exporter, exported = files.export_file(file, format, read, out, options, progress=progress)
    if checkpoint is not None:
        _print_assumed(checkpoint)
    tables.print_proof(exported, exporter.title)
    tables.print_shipped(exported, file)


@app.command(name="all", short_help="Export to every format that can be written here.")
@reads_checkpoints
def export_all(
    file: CheckpointFile,
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="Output folder; created if it doesn't exist.")],
    strict: Strict = False,
    overrides: ReadOptions,
) -> None:
    """Export FILE to every format that can be written here; list what was skipped and why."""
    from gan_export.errors import GanExportError
    from gan_export.pipeline import files

    checkpoint = _read(file, overrides, strict)
    _print_health(checkpoint)
    with _progress() as progress:
        outcomes = list(_shown(files.export_every_format(file, checkpoint, out, progress=progress), progress))
    written = any(o.result for o in outcomes)
    failed = [o.error.exit_code for o in outcomes if o.error]
    if written:
        _print_assumed(checkpoint)
    table(
        ("format", "size", "largest error", "loaded in", "file, or why not"), [tables.outcome_row(o) for o in outcomes]
    )
    if 1 in failed:
        raise typer.Exit(1)
    if not written:
        raise GanExportError(f"no format could be written to {out}; the table says why")
    if failed:
        raise GanExportError(f"{len(failed)} of the formats could not be written to {out}; the table says why")


@app.command(name="web", short_help="Write a web page that generates images in the browser.")
@reads_checkpoints
def export_web(
    file: Annotated[Path, typer.Argument(help="A generator's checkpoint, or a .gan file.")],
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="Output folder: new or empty.")],
    precision: Precision = "fp32",
    onnxruntime_web: Annotated[
        Path | None,
        typer.Option(
            "--onnxruntime-web",
            help="node_modules folder with onnxruntime-web, to offer it in the page too.",
            metavar="DIR",
        ),
    ] = None,
    strict: Strict = False,
    overrides: ReadOptions,
) -> None:
    """Write a static page that generates FILE's images in the browser and loads nothing from elsewhere."""
    from gan_export.pipeline import files

    checkpoint: Checkpoint | None = None

    def read() -> Checkpoint:
        nonlocal checkpoint
        checkpoint = _read(file, overrides, strict)
        _print_health(checkpoint)
        return checkpoint

    options = _options(uint8=False, precision=precision)
    with _progress() as progress:
        page = files.export_page(
            file, out, read, options, overrides, onnxruntime_web=onnxruntime_web, progress=progress
        )
    if page.verification:
        tables.print_verification(page.verification, file)
        if not page.verification.passed:
            raise typer.Exit(1)
    for title, exported in page.exported:
        tables.print_proof(exported, title)
    if checkpoint is not None:
        _print_assumed(checkpoint)
    say(f"wrote {out} ({tables.size(page.size)}): any static server shows it, and it needs no network")
    say(f"  python -m http.server -d {out} 8000    then open http://localhost:8000")


@app.command(name="list", short_help="List the formats.")
def list_formats(
    *,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a Markdown table, the same on every machine.")
    ] = False,
) -> None:
    """List the formats, what runs each, and whether it can be written and verified here."""
    from gan_export.pipeline import table as format_table

    if markdown:
        put(format_table.markdown())
        return
    rows, notes = [], []
    for line in format_table.lines():
        e = line.exporter
        here = "no" if line.reason else "unproven" if line.unproven else "yes"
        rows.append((e.name, e.suffix, ", ".join(e.precisions), line.devices, here))
        why = f"; {line.reason or line.unproven}" if line.reason or line.unproven else ""
        notes.append((e.name, f"{e.title}, run by {e.runs}{why}"))
    table(("format", "suffix", "precisions", "on", "here"), rows, whole_first=True)
    table(("format", "what it is, what runs it, and why it can't be written or verified here"), notes, whole_first=True)


@app.command(short_help="Check that an export generates the right images.")
@reads_checkpoints
def verify(
    artifact: Annotated[Path, typer.Argument(help="An exported file.")],
    checkpoint: Annotated[Path | None, typer.Argument(help="The checkpoint that it was exported from.")] = None,
    *,
    bisect: Annotated[bool, typer.Option("--bisect", help="ONNX: name the first layer that is wrong.")] = False,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision", help="Use the tolerance of fp32, fp16, bf16 or int8.", show_default="the file's own"
        ),
    ] = None,
    max_error: MaxError = None,
    strict: Strict = False,
    module: Module = None,
    kwargs: Kwargs = None,
    pythonpath: PythonPath = None,
    signature: SignatureFile = None,
    overrides: ReadOptions,
) -> None:
    """Run ARTIFACT in its own runtime; compare it with CHECKPOINT, or with the reference images inside it."""
    from gan_export.checkpoint.exportable import known_layers
    from gan_export.errors import GanExportError
    from gan_export.pipeline import publish

    if bisect and checkpoint is None:
        raise GanExportError("--bisect compares with a checkpoint's layers; name the checkpoint too")
    if checkpoint is None and overrides != ReadOptions():
        raise GanExportError(f"{overrides.flags()} says what a checkpoint is; name the checkpoint too, or leave it out")
    common.print_program(artifact)
    read: Exportable | None = None
    if module is not None and checkpoint is not None:
        read = modules.read(
            checkpoint,
            module,
            overrides,
            kwargs=kwargs,
            search=pythonpath or (),
            signature=signature,
            strict=strict,
        )
    elif module is not None:
        raise GanExportError("--module is the class of a checkpoint's weights; name the checkpoint too")
    else:
        modules.refuse_alone(kwargs, pythonpath, signature)
        if checkpoint is not None:
            read = _read(checkpoint, _as_exported(artifact, checkpoint, overrides), strict)
    found = publish.verify(artifact, read, precision=precision, max_error=max_error)
    tables.print_verification(found, artifact, precision)
    if bisect and read is not None:
        tables.print_steps(publish.compare_layers(artifact, known_layers(read, "--bisect")))
    if not found.passed:
        raise typer.Exit(1)


@app.command(short_help="Show what a checkpoint or an export contains.")
@reads_checkpoints
def inspect(
    file: Annotated[Path, typer.Argument(help="A checkpoint, or an exported file.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    strict: Strict = False,
    overrides: ReadOptions,
) -> None:
    """Show what FILE contains: family, sizes, layers, what was assumed and what was ignored."""
    from gan_export.formats import manifest as manifests

    kind = manifests.detect_format(file)
    if kind != "checkpoint" and overrides != ReadOptions():
        from gan_export.errors import GanExportError

        raise GanExportError(f"{file} is an export, what it is is fixed: leave out {overrides.flags()}")
    if kind == "checkpoint":
        from gan_export.checkpoint.summary import describe

        checkpoint = _read(file, overrides, strict)
        _print_health(checkpoint)
        description = describe(checkpoint)
        if as_json:
            put(json_text(description.to_json(), indent=2))
        else:
            tables.print_description(description)
        return
    manifest = manifests.read_manifest(file, kind)
    if manifest is None:
        from gan_export.errors import GanExportError

        raise GanExportError(f"{file} is {kind}, and has no manifest of gan-export inside")
    data = json.loads(manifest.to_json())
    if as_json:
        put(json_text(data, indent=2))
        return
    ports = [(port.name, f"{port.kind}, {manifest.signature.describe(port)}") for port in manifest.signature]
    rows = [(k, tables.flat(v)) for k, v in data.items() if k not in ("references", "signature")]
    table(("", ""), [*ports, *rows])


def main() -> None:
    """The entry point."""
    common.main(app, "gan-export")


def _options(*, uint8: bool, **recorded: Any) -> Options:
    from gan_export.exporters.base import Options

    return Options(output="bytes" if uint8 else "float", **recorded)


def _read(file: Path, overrides: ReadOptions, strict: bool) -> Checkpoint:
    from gan_export import checkpoint
    from gan_export.errors import printable

    read = checkpoint.read(file, overrides)
    if strict:
        checkpoint.check_strictly(read)
    tables.warn_of_code(read.source)
    for note in read.reading.notes:
        say(f"note: {printable(note, limit=500)}", error=True)
    for alternative in read.reading.alternatives:
        line = f"it could also be {alternative.title}; say so with {alternative.flag}"
        say(f"note: {printable(line, limit=500)}", error=True)
    return read


def _as_exported(artifact: Path, checkpoint: Path, overrides: ReadOptions) -> ReadOptions:
    """Return the options to read the checkpoint with: the flags, or else the artifact's; print any difference."""
    from gan_export.errors import printable
    from gan_export.pipeline import files

    found = files.options_as_exported(artifact, checkpoint, overrides)
    if found.recorded is not None:
        how = "read with" if found.used else "it was exported with"
        say(f"note: {how} {printable(found.recorded.flags(), limit=500)}, as its manifest says", error=True)
    return found.options


def _print_assumed(checkpoint: Checkpoint) -> None:
    """What the file doesn't say, on one line, each with the flag that says otherwise."""
    from gan_export.errors import printable

    if assumed := checkpoint.reading.assumed:
        assumptions = "; ".join(f"{a.what}: {a.value}" + (f" ({a.flag})" if a.flag else "") for a in assumed)
        say(f"assumed: {printable(assumptions, limit=1000)}", error=True)


def _print_health(checkpoint: Checkpoint) -> None:
    from gan_export.verification import batchnorm

    if line := batchnorm.warning(batchnorm.check(checkpoint)):
        say(f"warning: {line}", error=True)


class _Progress:
    """Shows what goes on while nothing else is printed; `hide` before printing."""

    def __init__(self) -> None:
        from rich.console import Console

        self._status = Console(stderr=True).status("")

    def __call__(self, what: str) -> None:
        self._status.update(_status(what))
        self._status.start()

    def hide(self) -> None:
        self._status.stop()


@contextlib.contextmanager
def _progress() -> Iterator[_Progress]:
    """A line on standard error about what goes on; a failed parity's report is printed, and the error goes on."""
    from gan_export.verification.compare import ParityError

    progress = _Progress()
    try:
        yield progress
    except ParityError as e:
        progress.hide()
        tables.print_report(e.report)
        raise
    finally:
        progress.hide()


def _shown(outcomes: Iterable[Outcome], progress: _Progress) -> Iterator[Outcome]:
    """The outcomes, each failed parity's report printed as it comes."""
    from gan_export.verification.compare import ParityError

    for outcome in outcomes:
        progress.hide()
        if isinstance(outcome.error, ParityError):
            tables.print_report(outcome.error.report)
        yield outcome


def _status(what: str) -> Any:
    """As rich takes text that is no markup."""
    from rich.text import Text

    from gan_export.errors import printable

    return Text(f"{printable(what)} ...")
