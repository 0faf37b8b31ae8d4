"""gan-sample dataset and gan-sample check: their options, progress, the final table, the result of a check."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gan_export.cli import common
from gan_export.cli.loading import Loading
from gan_export.cli.options import (
    Count,
    Device,
    GeneratorFile,
    Label,
    LatentScale,
    Seed,
    Start,
    Strict,
    check_device,
    parse_label,
)
from gan_export.cli.say import say, suggest
from gan_export.errors import CheckFailedError, GanExportError

if TYPE_CHECKING:
    from gan_export.datasets.run import Report

_SHOWN = 20  # number of faults that are printed


def dataset(
    file: GeneratorFile,
    *,
    out: Annotated[str, typer.Option("-o", "--out", help="A folder, or the URL of one.")],
    format: Annotated[
        str,
        typer.Option("--format", help="png, classes, webdataset, webdataset-npy, parquet, npy or raw."),
    ],
    count: Count = 64,
    seed: Seed = 0,
    start: Start = 0,
    label: Label = None,
    latent_scale: LatentScale = 1.0,
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
    part: Annotated[
        str | None, typer.Option("--part", help="Generate only one part, such as 3/16.", show_default="everything")
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
    loading: Loading,
) -> None:
    """Write COUNT images of FILE as a dataset in shards, with a manifest.  Run it again to continue."""
    from dataclasses import asdict

    from gan_export.cli import tables
    from gan_export.datasets import run
    from gan_export.datasets.filters import DIGITS
    from gan_export.datasets.plan import Partition
    from gan_export.datasets.writer import GeneratorSource

    common.print_program(file)
    chosen = parse_label(label)
    if count < 1:
        raise GanExportError(f"-n {count}: must be at least 1")
    if classifier is not None and filter is None:
        raise GanExportError("--classifier is for --filter; add --filter 'confidence<0.9'")
    read = tables.check_source(file, loading.overrides, loading.strict)
    request = run.DatasetRequest(
        seed, start, count, format, chosen, latent_scale, filter, shard_size,
        Partition.parse(part) if part else Partition(), workers, ray,
    )  # fmt: skip
    source = GeneratorSource(
        file, loading.runtime, loading.device, loading.threads, classifier or DIGITS,
        overrides=asdict(read.overrides if read else loading.overrides),
    )  # fmt: skip
    progress = Progress()
    common.if_interrupted("run the same command again to continue")
    try:
        report = run.run(source, request, out, progress=progress, expect=progress.expect)
    finally:
        progress.close()
    for line in lines(report, out, format):
        say(line)
    if report.complete:
        suggest("gan-sample", "check", out, "--generator", file)
    elif part:
        following = Partition(request.slice.number % request.slice.of + 1, request.slice.of)
        suggest("gan-sample", *(str(following) if word == part else word for word in sys.argv[1:]))
    if read:
        tables.print_how_read(read.reading)


class Progress:
    """Images, images per second, bytes and remaining time: a bar on a terminal, else one line per minute."""

    def __init__(self) -> None:
        self._drawn = self._bytes = self._total = self._before = 0
        self._begun = self._last = time.monotonic()
        self._live = sys.stderr.isatty()

    def expect(self, pictures: int) -> None:
        """Set the number of images that remain, and start to measure the speed."""
        self._before, self._total = self._drawn, self._drawn + pictures
        self._begun = time.monotonic()

    def __call__(self, pictures: int, size: int) -> None:
        self._drawn += pictures
        self._bytes += size
        now = time.monotonic()
        if now - self._last >= (0.2 if self._live else 60):
            self._last = now
            self._show(now - self._begun)

    def close(self) -> None:
        if self._live:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def _show(self, seconds: float) -> None:
        speed = (self._drawn - self._before) / max(seconds, 1e-9)
        total = max(self._total, self._drawn)  # images of a dead worker are generated again
        left = f"  {_time((total - self._drawn) / speed)} left" if speed else ""
        text = f"{self._drawn:,} of {total:,}  {speed:,.0f} img/s  {_bytes(self._bytes)}{left}"
        sys.stderr.write(f"\r\033[K{text}" if self._live else f"{text}\n")  # only our own text
        sys.stderr.flush()


def lines(report: Report, target: str, format: str) -> list[str]:
    """Return the lines of the final table."""
    notes = [f"damaged, generated again: {fault}" for fault in report.redrawn[:_SHOWN]]
    if len(report.redrawn) > _SHOWN:
        notes.append(f"damaged, generated again: {len(report.redrawn) - _SHOWN:,} more")
    state = "complete" if report.complete else f"{report.left:,} shards of the dataset remain"
    notes.append(
        f"{target}: {report.pictures:,} images in {report.shards:,} shards, {_bytes(report.bytes)} as {format}; {state}"
    )
    for name, note in report.notes.items():
        if name == "latent_scale":
            notes.append(
                f"  latent scale {note['latent_scale']:g}: {note['variety']:.0%} of the variety without it "
                f"(mean distance of {note['of']} images)"
            )
        elif isinstance(note, dict):
            share = note["dropped"] / note["of"] if note["of"] else 0.0
            notes.append(f"  {name:12} left out {note['dropped']:,} of {note['of']:,} ({share:.1%})")
    if report.kept_shards:
        notes.append(f"  kept         {report.kept_shards:,} shards from an earlier run, each checked")
    if not report.drawn:
        return [*notes, "  generated    nothing: all shards were finished"]
    notes.append(
        f"  generated    {report.drawn:,} in {_time(report.seconds)}, {report.drawn / report.seconds:,.0f} img/s"
    )
    everything = report.spent.get("all", 0.0)
    parts = {what: report.spent.get(what, 0.0) for what in ("generating", "encoding", "disk")}
    bound = max(parts, key=lambda what: parts[what])
    for what, seconds in parts.items():
        share = seconds / everything if everything else 0.0
        alone = f", {report.drawn / seconds:,.0f} img/s for one worker doing only this" if seconds else ""
        notes.append(
            f"  {what:12} {share:4.0%} of the workers' time{alone}{'  <- the bottleneck' if what == bound else ''}"
        )
    return notes


def check(
    folder: Annotated[str, typer.Argument(help="A dataset written by gan-sample.")],
    *,
    generator: Annotated[
        Path | None,
        typer.Option(
            "-g", "--generator", help="Its generator; generate some images again to compare.", show_default=False
        ),
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", help="Number of images to generate again.", min=1)] = 64,
    runtime: Annotated[
        str | None, typer.Option("--runtime", help="Runtime to use.  The default is the one that wrote the dataset.")
    ] = None,
    device: Device = "cpu",
    strict: Strict = False,
) -> None:
    """Verify every hash of a dataset, and generate some images again to compare them."""
    from gan_export.datasets import check as checking
    from gan_export.formats import manifest

    check_device(device)
    verdict = checking.check(folder, generator, runtime=runtime, device=device, pictures=count, strict=strict)
    common.print_warnings(verdict.warnings)
    for fault in verdict.faults[:_SHOWN]:
        say(f"damaged: {fault}")
    if len(verdict.faults) > _SHOWN:
        say(f"damaged: {len(verdict.faults) - _SHOWN:,} more")
    shards = len(verdict.manifest.records)
    if verdict.faults:
        raise CheckFailedError(
            f"{folder}: {len(verdict.faults):,} faults in {shards:,} shards; "
            "run the command that generated it again to repair them"
        )
    say(f"{folder}: {verdict.pictures:,} images in {shards:,} shards, {_bytes(verdict.bytes)}: all match the manifest")
    if generator is None:
        say("no image was generated again; to compare some:")
        suggest("gan-sample", "check", folder, "--generator", verdict.manifest.job.generator)
    else:
        say(f"{verdict.drawn} images generated again: identical")
        is_export = manifest.detect_format(generator) != "checkpoint"
        suggest("gan-export", "verify" if is_export else "inspect", generator)


def _bytes(n: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:,.0f} {unit}" if unit == "B" else f"{n:,.1f} {unit}"
        n /= 1000
    return f"{n:,.1f} TB"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d}"
