"""gan-sample FILE: pictures from a seed, by whatever runtime takes the file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gan_export.arch.reading import Overrides
from gan_export.cli import app as common
from gan_export.cli.options import Device, Seed, Threads, check_device, reads_checkpoints
from gan_export.errors import GanExportError

if TYPE_CHECKING:
    from gan_export.sampling import Label

HELP = """Draw pictures from a generator: a checkpoint, an ONNX or a TorchScript file.

Image i of a seed is the same picture whatever the runtime, the batch or the machine.

\b
gan-sample g.onnx -n 64 --seed 7 -o grid.png     one grid
gan-sample g.onnx -n 5000 -o pictures            a folder of PNGs
gan-sample g.onnx -n 100000 -o pictures.npz      uint8 (N, H, W, C)
"""
app = common.new_app(HELP, default="sample")


@app.command(hidden=True)
@reads_checkpoints
def sample(
    file: Annotated[Path, typer.Argument(help="A checkpoint, .onnx or TorchScript file, told apart by content.")],
    *,
    count: Annotated[int, typer.Option("-n", "--count", help="How many pictures.")] = 64,
    seed: Seed = 0,
    start: Annotated[int, typer.Option("--start", help="Index of the first picture.")] = 0,
    out: Annotated[Path, typer.Option("-o", "--out", help=".png, .npy, .npz, or a folder.")] = Path("samples.png"),
    batch: Annotated[int, typer.Option("--batch", help="Pictures drawn at once.")] = 64,
    label: Annotated[
        str | None, typer.Option("--label", help="A label's number, or all.", show_default="random")
    ] = None,
    latents: Annotated[Path | None, typer.Option("--latents", help="Your own: .npy, or a tensor in .pt.")] = None,
    runtime: Annotated[str | None, typer.Option("--runtime", help="Another runtime than the first that fits.")] = None,
    device: Device = "cpu",
    threads: Threads = None,
    overrides: Overrides,
) -> None:
    """Draw COUNT pictures of FILE into OUT."""
    from gan_export import sampling

    check_device(device)
    chosen = _label(label)
    if count < 1:
        raise GanExportError(f"-n {count}: ask for at least one picture")
    if batch < 1:
        raise GanExportError(f"--batch {batch}: at least 1 is needed")
    with sampling.open_generator(file, overrides, runtime=runtime, device=device, threads=threads) as generator:
        z = sampling.read_latents(latents, generator.facts.nz) if latents else None
        with _Progress(len(z) if z is not None else count) as advance:
            if z is not None:
                sampling.sample_latents(
                    generator, out, z, batch=batch, label=chosen if label else "all", progress=advance
                )
            else:
                sampling.sample(
                    generator, out, seed=seed, start=start, count=count, batch=batch, label=chosen, progress=advance
                )
    drawn = len(z) if z is not None else count
    info = generator.session.info
    print(f"wrote {out}: {drawn} picture{'s' if drawn > 1 else ''} by {info.runtime} ({info.provider})")


def main() -> None:
    """The entry point."""
    common.main(app, "gan-sample")


def _label(text: str | None) -> Label:
    if text is None:
        return "random"
    if text == "all":
        return "all"
    if text.isdecimal():
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
