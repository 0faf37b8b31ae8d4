"""gan-export FORMAT CHECKPOINT: export, verify, publish."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gan_export.cli import about, common, modules, pages, tables
from gan_export.cli.inspect import inspect, print_health, read_checkpoint
from gan_export.cli.options import Out, Strict, reads_checkpoints
from gan_export.cli.say import say, suggest, table
from gan_export.cli.split import files_of
from gan_export.cli.steps import shown, steps
from gan_export.recognize.options import ReadOptions

if TYPE_CHECKING:
    from gan_export.checkpoint import Checkpoint
    from gan_export.checkpoint.exportable import Exportable
    from gan_export.exporters.base import Options

HELP = """Export a GAN generator from its checkpoint, and verify that the export generates the same images.

\b
gan-export onnx g.pth            write g.onnx next to g.pth
gan-export onnx g.pth --sampler  write g.sampler.onnx, which takes a seed instead of latents
gan-export onnx n.pkl --split    n.mapping.onnx and n.synthesis.onnx, with the w of each layer between them
gan-export torchscript g.pth     write g.pt
gan-export c g.pth -o DIR        plain C99 without dependencies
gan-export all g.pth -o DIR      every format that can be written here
gan-export web g.pth -o SITE     a web page that generates images in the browser
gan-export list                  list the formats; `list families` lists what is recognized
gan-export inspect g.pth         show what a checkpoint contains; -o FILE.png shows its readings
gan-export verify g.onnx g.pth   compare an export with its checkpoint
"""
app = common.new_app(HELP, default="export")

CheckpointFile = Annotated[Path, typer.Argument(help="A generator's checkpoint: .pth, .pt, .ckpt, .safetensors ...")]
Method = Annotated[str, typer.Option("--method", help="TorchScript: trace, script or freeze.")]
Opset = Annotated[int | None, typer.Option("--opset", help="ONNX: 18 to 24.", show_default="18")]
Uint8 = Annotated[bool, typer.Option("--uint8", help="Output uint8 (N, H, W, C) instead of floats in [-1, 1].")]
Precision = Annotated[str, typer.Option("--precision", help="fp32, or fp16, bf16 or int8 if the format supports it.")]
Arithmetic = Annotated[
    str,
    typer.Option("--arithmetic", help="native: float32, or fast, which multiplies 16-bit numbers."),
]
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
    typer.Option(
        "--sampler", help="Compute latents in the file: inputs are seed, start and count, the output is uint8."
    ),
]
Split = Annotated[
    bool,
    typer.Option("--split", help="Two files of a style-based generator: NAME.mapping (z to ws), NAME.synthesis."),
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
    format: Annotated[
        str, typer.Argument(help="A format's name, see `gan-export list`.", autocompletion=about.complete_format)
    ],
    file: CheckpointFile,
    *,
    out: Out = None,
    opset: Opset = None,
    uint8: Uint8 = False,
    method: Method = "freeze",
    precision: Precision = "fp32",
    arithmetic: Arithmetic = "float32",
    embed_weights: EmbedWeights = False,
    symbol: Symbol = "generator",
    static: Static = None,
    external_data: ExternalData = False,
    fp16_io: Fp16Io = False,
    recalibrate: Recalibrate = None,
    max_error: MaxError = None,
    sampler: Sampler = False,
    split: Split = False,
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
    from gan_export import exporters
    from gan_export.pipeline import files

    options = _options(
        opset=opset, uint8=uint8, method=method, precision=precision, static=static, external_data=external_data,
        fp16_io=fp16_io, recalibrate=recalibrate, max_error=max_error, embed_weights=embed_weights, symbol=symbol,
        sampler=sampler, device=device, backend=backend, arithmetic=arithmetic,
    )  # fmt: skip

    def write(target: Path | None, overrides: ReadOptions, options: Options) -> None:
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
            checkpoint = read_checkpoint(file, overrides, strict)
            if recalibrate is None:
                print_health(checkpoint)
            return checkpoint

        with steps() as progress:
            exporter, exported = files.export_file(file, format, read, target, options, progress=progress)
        if checkpoint is not None:
            tables.print_reading(checkpoint.reading)
        tables.print_proof(exported, exporter.title)
        tables.print_shipped(exported, file if module is None and overrides == ReadOptions() else None)
        if checkpoint is not None:
            tables.print_unsettled(checkpoint.reading)

    if not split:
        write(out, overrides, options)
        return
    whole = out or files.default_target(file, exporters.find(format).suffix)
    for target, as_part, own in files_of(whole, overrides, options, module):
        write(target, as_part, own)


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

    files.require_libraries()
    checkpoint = read_checkpoint(file, overrides, strict)
    print_health(checkpoint)
    with steps() as progress:
        outcomes = list(shown(files.export_every_format(file, checkpoint, out, progress=progress), progress))
    written = any(o.result for o in outcomes)
    failed = [o.error.exit_code for o in outcomes if o.error]
    if written:
        tables.print_reading(checkpoint.reading)
    table(
        ("format", "size", "largest error", "loaded in", "file, or why not"), [tables.outcome_row(o) for o in outcomes]
    )
    if written:
        first = next(o.result for o in outcomes if o.result)
        tables.print_next(first, file if overrides == ReadOptions() else None)
        tables.print_unsettled(checkpoint.reading)
    if 1 in failed:
        raise typer.Exit(1)
    if not written:
        raise GanExportError(f"no format could be written to {out}; the table has the reasons")
    if failed:
        raise GanExportError(f"{len(failed)} formats could not be written to {out}; the table has the reasons")


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
        checkpoint = read_checkpoint(file, overrides, strict)
        print_health(checkpoint)
        return checkpoint

    options = _options(uint8=False, precision=precision)
    with steps() as progress:
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
        tables.print_reading(checkpoint.reading)
    say(f"wrote {out} ({tables.size(page.size)}): any static server shows it, and it needs no network")
    suggest("python3", "-m", "http.server", "-d", out, 8000)
    say("  then open http://localhost:8000")
    if checkpoint is not None:
        tables.print_unsettled(checkpoint.reading)


@app.command(short_help="Check that an export generates the right images.")
@reads_checkpoints
def verify(
    artifact: Annotated[Path, typer.Argument(help="An exported file.")],
    checkpoint: Annotated[Path | None, typer.Argument(help="The checkpoint that it was exported from.")] = None,
    *,
    per_layer: Annotated[
        bool, typer.Option("--per-layer", help="ONNX: compare each layer, and name the first that is wrong.")
    ] = False,
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

    if per_layer and checkpoint is None:
        raise GanExportError("--per-layer compares with a checkpoint's layers; name the checkpoint too")
    if checkpoint is None and overrides != ReadOptions():
        raise GanExportError(f"{overrides} describes a checkpoint; name the checkpoint too, or leave it out")
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
            read = read_checkpoint(checkpoint, _as_exported(artifact, checkpoint, overrides), strict)
    found = publish.verify(artifact, read, precision=precision, max_error=max_error)
    tables.print_verification(found, artifact, precision)
    if per_layer and read is not None:
        tables.print_steps(publish.compare_layers(artifact, known_layers(read, "--per-layer")))
    if not found.passed:
        if read is not None and module is None and not per_layer and artifact.suffix == ".onnx":
            suggest("gan-export", "verify", artifact, str(checkpoint), "--per-layer")
        raise typer.Exit(1)
    tables.suggest_use(artifact, found.manifest.signature)


app.command(short_help="Show what a checkpoint or an export contains.")(inspect)
app.command(name="list", short_help="List the formats, or the families of generators.")(about.list_formats)
app.command(short_help="Show what this installation can do, for a bug report.")(about.doctor)
app.command(name="help", short_help="Explain what an error means, by the topic that it names.")(pages.help_topic)


def main() -> None:
    """The entry point."""
    common.main(app, "gan-export")


def _options(*, uint8: bool, **recorded: Any) -> Options:
    from gan_export.exporters.base import Options

    return Options(output="bytes" if uint8 else "float", **recorded)


def _as_exported(artifact: Path, checkpoint: Path, overrides: ReadOptions) -> ReadOptions:
    """Return the options to read the checkpoint with: the flags, or else the artifact's; print any difference."""
    from gan_export.errors import printable
    from gan_export.pipeline import files

    found = files.options_as_exported(artifact, checkpoint, overrides)
    if found.recorded is not None:
        how = "read with" if found.used else "it was exported with"
        say(f"note: {how} {printable(str(found.recorded), limit=500)}, the flags in its manifest", error=True)
    return found.options
