"""gan-sample FILE: pictures from a seed, by whatever runtime takes the file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gan_export.cli import common
from gan_export.cli.options import Device, Seed, Strict, Threads, check_device, reads_checkpoints
from gan_export.cli.say import say
from gan_export.errors import GanExportError
from gan_export.recognize.options import ReadOptions

if TYPE_CHECKING:
    from gan_export.sampling.generator import Label

HELP = """Generate images with a checkpoint or any export (.onnx, .pt, .gan, .xml, ...).

Image i of a seed is the same in every runtime, at any batch size, on any machine.

\b
gan-sample g.onnx -n 64 --seed 7 -o grid.png     one grid
gan-sample g.onnx -n 5000 -o images              a folder of PNGs
gan-sample g.onnx -n 100000 -o images.npz        uint8 (N, H, W, C)
gan-sample g.onnx --walk 12 -o walk.gif          a film that moves from image to image; also .webp, .mp4
gan-sample g.gan -n 10000000 --format webdataset -o DIR
                                                 a dataset in shards, with a manifest; run it again to continue
gan-sample check DIR --generator g.gan           is it complete, and does the generator give these images?

Dataset formats: png, classes, webdataset, webdataset-npy, parquet, npy, raw.
"""
app = common.new_app(HELP, default="sample")


@app.command(hidden=True)
@reads_checkpoints
def sample(
    file: Annotated[Path, typer.Argument(help="A checkpoint or an export; recognized by its content.")],
    *,
    count: Annotated[int | None, typer.Option("-n", "--count", help="Number of images.", show_default="64")] = None,
    seed: Seed = 0,
    start: Annotated[int, typer.Option("--start", help="Index of the first image.")] = 0,
    out: Annotated[
        str, typer.Option("-o", "--out", help="A .png, .npy or .npz file, a folder, or a URL of a folder.")
    ] = "samples.png",
    batch: Annotated[int, typer.Option("--batch", help="Images per batch.")] = 64,
    label: Annotated[
        str | None, typer.Option("--label", help="Number of a label, or all.", show_default="random")
    ] = None,
    latents: Annotated[
        Path | None, typer.Option("--latents", help="Use these latents: .npy, or a tensor in .pt.")
    ] = None,
    walk: Annotated[
        int | None,
        typer.Option(
            "--walk", help="Write a looping film through this many images (.gif, .webp, .mp4); -n films side by side."
        ),
    ] = None,
    psi: Annotated[
        float, typer.Option("--psi", help="Multiply latents by this, 0 to 1; smaller values vary less.")
    ] = 1.0,
    format: Annotated[
        str | None,
        typer.Option("--format", help="Write a dataset in this format into the folder OUT.", show_default=False),
    ] = None,
    filter: Annotated[
        str | None,
        typer.Option(
            "--filter", help="Leave out images below a classifier's confidence: 'confidence<0.9'.", show_default=False
        ),
    ] = None,
    classifier: Annotated[
        str | None,
        typer.Option("--classifier", help="Classifier for --filter: a name, or an ONNX file.", show_default="digits"),
    ] = None,
    shard: Annotated[
        str | None, typer.Option("--shard", help="Generate only one part, such as 3/16.", show_default="everything")
    ] = None,
    shard_size: Annotated[
        int | None, typer.Option("--shard-size", help="Images per shard.", show_default=False)
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Number of processes.", min=1, show_default="the cores")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option("--ray", help="Run on a Ray cluster: HOST:PORT, auto or local.", show_default=False),
    ] = None,
    runtime: Annotated[
        str | None, typer.Option("--runtime", help="Runtime to use.  The default is the first that can run the file.")
    ] = None,
    device: Device = "cpu",
    threads: Threads = None,
    strict: Strict = False,
    overrides: ReadOptions,
) -> None:
    """Write COUNT images of FILE to OUT."""
    from gan_export.sampling import generator as generators

    total = count if count is not None else (64 if walk is None else 1)

    def dataset(format: str) -> None:
        from dataclasses import asdict

        from gan_export.cli import dataset, tables
        from gan_export.datasets.filters import DIGITS
        from gan_export.datasets.plan import Partition
        from gan_export.datasets.run import DatasetRequest
        from gan_export.datasets.writer import GeneratorSource

        tables.check_source(file, overrides, strict)
        part = Partition.parse(shard) if shard else Partition()
        request = DatasetRequest(seed, start, total, format, chosen, psi, filter, shard_size, part, workers, ray)
        source = GeneratorSource(file, runtime, device, threads, classifier or DIGITS, overrides=asdict(overrides))
        dataset.draw(source, request, out)

    check_device(device)
    common.print_program(file)
    chosen = _label(label)
    if walk is not None and (latents is not None or format is not None):
        raise GanExportError("--walk draws its own latents into one film; leave --latents and --format out")
    if "://" in out and format is None:
        raise GanExportError(f"-o {out}: a dataset alone goes to a URL; add --format")
    target = Path(out)
    _check_counts(total, batch)
    if latents is not None:
        _check_latents(format, count is not None or bool(seed or start) or psi != 1.0)
    _check_classifier(classifier, filter)
    if format is not None:
        dataset(format)
        return
    _refuse_of_one_file(
        {
            "--shard": shard,
            "--shard-size": shard_size,
            "--workers": workers,
            "--ray": ray,
            "--filter": filter,
            "--classifier": classifier,
        }
    )
    with generators.open_generator(
        file, overrides, runtime=runtime, device=device, threads=threads, psi=psi, strict=strict
    ) as generator:
        for line in generator.warnings:
            say(f"warning: {line}", error=True)
        if walk is not None:
            from gan_export.sampling import interpolate

            kept = chosen if label is not None else "all"
            drawn = interpolate.write(generator, target, seed=seed, stops=walk, count=total, start=start, label=kept)
            say(f"wrote {out}: {drawn} frames over {walk} stops, looping")
            return
        z = generators.read_latents(latents, generator.facts.nz) if latents else None
        if z is None and label == "all" and generator.facts.classes and not target.suffix:
            dataset("classes")  # labels laid out as folders, which is what tools for classes read
            return
        with _Progress(len(z) if z is not None else total) as advance:
            if z is not None:
                generators.sample_latents(
                    generator, target, z, batch=batch, label=chosen if label else "all", progress=advance
                )
            else:
                generators.sample(
                    generator, target, seed=seed, start=start, count=total, batch=batch, label=chosen, progress=advance
                )
    drawn = len(z) if z is not None else total
    info = generator.session.info
    say(f"wrote {out}: {drawn} picture{'s' if drawn > 1 else ''} by {info.runtime} ({info.provider})")


def _refuse_of_one_file(flags: dict[str, object]) -> None:
    """Raises GanExportError for a flag that only a dataset has a use for."""
    for name, said in flags.items():
        if said:
            raise GanExportError(f"{name} is for datasets; add --format, and a folder with -o")


def _check_counts(total: int, batch: int) -> None:
    if total < 1:
        raise GanExportError(f"-n {total}: ask for at least one picture")
    if batch < 1:
        raise GanExportError(f"--batch {batch}: at least 1 is needed")


def _check_classifier(classifier: str | None, filter: str | None) -> None:
    if classifier is not None and filter is None:
        raise GanExportError("--classifier is for --filter; add --filter 'confidence<0.9'")


def _check_latents(format: str | None, chosen: bool) -> None:
    """chosen: whether the command line also says which latents the seed is to give."""
    if format is not None:
        raise GanExportError("--latents go to one file; leave --format out")
    if chosen:
        raise GanExportError("--latents are drawn from as they are, all of them; leave -n, --seed, --start, --psi out")


@app.command("check")
def check(
    folder: Annotated[str, typer.Argument(help="A dataset written by gan-sample.")],
    *,
    generator: Annotated[
        Path | None,
        typer.Option(
            "-g", "--generator", help="Its generator; generate some images again to compare.", show_default=False
        ),
    ] = None,
    pictures: Annotated[int, typer.Option("--pictures", help="Number of images to generate again.", min=1)] = 64,
    runtime: Annotated[
        str | None, typer.Option("--runtime", help="Runtime to use.  The default is the one that wrote the dataset.")
    ] = None,
    device: Device = "cpu",
) -> None:
    """Verify every hash of a dataset, and generate some images again to compare them."""
    from gan_export.cli import dataset

    check_device(device)
    dataset.check(folder, generator, runtime, device, pictures)


def main() -> None:
    """The entry point."""
    common.main(app, "gan-sample")


def _label(text: str | None) -> Label:
    if text is None:
        return "random"
    if text == "all":
        return "all"
    if text.isdecimal() and len(text) < 20:
        return int(text)
    raise GanExportError(f"--label {text}: a label's number, or all")


class _Progress:
    """A bar on a terminal for a run that lasts; nothing otherwise, and then rich is not even imported."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._bar = None
        if total > 1000 and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )

    def __enter__(self) -> _Progress:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total, rate="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, n: int) -> None:
        if self._bar is not None:
            speed = self._bar.tasks[0].speed
            self._bar.update(self._task, advance=n, rate=f"{speed:,.0f} img/s" if speed else "")
