"""gan-sample: generate images from a seed with a runtime that supports the file, and what else is done with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gan_export.cli import common
from gan_export.cli.apply import apply
from gan_export.cli.dataset import check, dataset
from gan_export.cli.evaluate import evaluate
from gan_export.cli.interpolate import interpolate
from gan_export.cli.loading import Loading, loads_generators, opened
from gan_export.cli.options import GeneratorFile, Label, LatentScale, Seed, Start, parse_label
from gan_export.cli.progress import Progress
from gan_export.cli.say import say, suggest
from gan_export.cli.styles import By, Direction, Mix, Psi, Styles, applied, parse_psi
from gan_export.errors import GanExportError

if TYPE_CHECKING:
    from gan_export.sampling.generator import Bytes, Floats, Generator
    from gan_export.sampling.styles import Rng
    from gan_export.sampling.value_sinks import Form

HELP = """Generate images with a checkpoint or any export (.onnx, .pt, .gan, .xml, ...).

Image i of a seed is the same in every runtime, at any batch size, on any machine.

\b
gan-sample g.onnx -n 64 --seed 7 -o grid.png     one grid
gan-sample g.onnx -n 5000 -o images              a folder of PNGs
gan-sample g.onnx -n 100000 -o images.npz        uint8 (N, H, W, C)
gan-sample v.onnx -o shape.ply --level 0.4       a volume as a mesh; .png: a preview of several, .npz: arrays
gan-sample w.onnx -o sound.wav                   a signal, --sample-rate 16000; a folder for a file per signal
gan-sample network.pkl --seed 85 --psi 0.7       truncation of a style-based generator
gan-sample network.pkl --mix 4-7:12 -o mixed.png layers 4 to 7 take the style of seed 12
gan-sample interpolate g.onnx -o walk.gif        an animation that moves from image to image; also .webp, .mp4
gan-sample dataset g.gan -n 10000000 --format webdataset -o DIR
                                                 a dataset in shards, with a manifest; run it again to continue
gan-sample check DIR --generator g.gan           is it complete, and does the generator generate these images?
gan-sample apply g.onnx photo.jpg -o out.png     an image through a generator that takes one; a folder too
gan-sample evaluate g.onnx                       the quality of a generator of digits
"""
app = common.new_app(HELP, default="sample")
app.command("apply", short_help="Put images through a generator that takes images.")(loads_generators(apply))
app.command("interpolate", short_help="Write an animation that moves from image to image.")(
    loads_generators(interpolate)
)
app.command("dataset", short_help="Write a dataset in shards.")(loads_generators(dataset))
app.command("check", short_help="Check a dataset.")(check)
app.command("evaluate", short_help="Measure the images of a digit generator.")(loads_generators(evaluate))


@app.command(hidden=True)
@loads_generators
def sample(
    file: GeneratorFile,
    *,
    count: Annotated[int | None, typer.Option("-n", "--count", help="Number of images.", show_default="64")] = None,
    seed: Seed = 0,
    start: Start = 0,
    out: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--out",
            help="A .png, .npy or .npz file, or a folder for a PNG per image.  Volumes: also .ply; signals: .wav.",
            show_default="samples.png",
        ),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", help="Images per batch.")] = 64,
    label: Label = None,
    latents: Annotated[
        Path | None,
        typer.Option("--latents", help="Use these z, w or ws: .npy, .npz (projected_w.npz), or a tensor in .pt."),
    ] = None,
    rng: Annotated[
        str, typer.Option("--rng", help="philox, the latent law, or numpy, as NVlabs' scripts: a seed for each image.")
    ] = "philox",
    seeds: Annotated[
        str | None,
        typer.Option("--seeds", help="Seeds for --rng numpy, such as 0-10,85: one image each.", show_default=False),
    ] = None,
    latent_scale: LatentScale = 1.0,
    psi: Psi = None,
    mix: Mix = "",
    direction: Direction = None,
    by: By = 1.0,
    level: Annotated[
        float | None,
        typer.Option(
            "--level", help="Level of a volume's surface (.ply, .png), as a share of its range.", show_default="0.5"
        ),
    ] = None,
    sample_rate: Annotated[
        int | None, typer.Option("--sample-rate", help="Values per second of a signal (.wav).", show_default="16000")
    ] = None,
    loading: Loading,
) -> None:
    """Write COUNT images, volumes or signals of FILE to OUT."""
    from gan_export.sampling import write as writing
    from gan_export.sampling.styles import has_labels, has_mapping
    from gan_export.sampling.value_sinks import KINDS, Form

    psis = parse_psi(psi)
    total = (4 if len(psis) > 1 else 64) if count is None else count
    chosen, target = parse_label(label), Path(out or "samples.png")
    if out is not None and "://" in out:
        raise GanExportError(f"-o {out}: only a dataset can be written to a URL; use gan-sample dataset")
    _check_counts(total, batch)
    by_rng: Rng = "numpy" if rng == "numpy" else "philox"
    if rng != by_rng:
        raise GanExportError(f"--rng {rng}: must be philox or numpy")
    numpy_seeds = _numpy_seeds(by_rng, seeds, seed, total, own=latents is not None, mix=bool(mix))
    if latents is not None and (count is not None or seed or start or latent_scale != 1.0):
        raise GanExportError(
            "--latents uses all latents of the file unchanged; leave -n, --seed, --start, --latent-scale out"
        )
    loading, change = applied(file, loading, Styles(psis, mix, direction, by), latents)
    with opened(file, loading, latent_scale) as generator:
        if generator.signature.outputs[0].kind in KINDS:
            form = Form(level, sample_rate)
            _write_values(
                generator, file, out, count, form, seed=seed, start=start, batch=batch, labels=chosen,
                own=_own_latents(generator, latents, loading), numpy_seeds=numpy_seeds,
            )  # fmt: skip
            return
        if level is not None or sample_rate is not None:
            name = "--level is for volumes" if level is not None else "--sample-rate is for signals"
            raise GanExportError(f"{name}, and this generator gives images; leave it out")
        if has_mapping(generator) and (change or len(psis) > 1):
            generator.parts(psi="psi" in change or len(psis) > 1, cutoff=change.get("cutoff"))
        own = _own_latents(generator, latents, loading)
        base: Sequence[int] = numpy_seeds if numpy_seeds is not None else range(start, start + total)
        if own:
            base = range(len(next(iter(own.values()))))
        takes_label = bool(mix) or not own.keys() & {"w", "ws"}  # the label is already part of a w
        if (own or numpy_seeds) and takes_label and not label and has_labels(generator):
            chosen = "all"
        columns = max(len(psis), 1)

        def make(cells: range) -> Bytes:
            """The images of these cells of the sheet: an image's row has a column for each psi."""
            at = [base[cell // columns] for cell in cells]
            given = {**change, **{name: values[at] for name, values in own.items()}}
            if columns > 1:
                given["psi"] = [psis[cell % columns] for cell in cells]
            elif isinstance(base, range):
                return generator.sample(len(at), seed=seed, start=at[0], labels=chosen, rng=by_rng, **given)
            return generator.sample(indices=at, seed=seed, labels=chosen, rng=by_rng, **given)

        drawn = len(base) * columns
        with Progress(drawn) as advance:
            writing.write(
                target, generator.image, make, drawn, first=base[0] if isinstance(base, range) else 0, batch=batch,
                columns=columns if columns > 1 else None, progress=advance,
            )  # fmt: skip
        info = generator.info
        say(f"wrote {target}: {drawn} image{'s' if drawn > 1 else ''} by {info.runtime} ({info.provider})")
        if generator.reading is not None:
            suggest("gan-export", "onnx", file)
        elif latents is None:
            suggest("gan-sample", "interpolate", file, "--seed", seed, "-o", "walk.gif")


def _write_values(
    generator: Generator,
    file: Path,
    out: str | None,
    count: int | None,
    form: Form,
    *,
    seed: int,
    start: int,
    batch: int,
    labels: int | Literal["all", "random"],
    own: Mapping[str, Floats],
    numpy_seeds: list[int] | None,
) -> None:
    """Write the volumes or signals of a generator."""
    from gan_export.sampling import value_sinks
    from gan_export.sampling import write as writing

    port = generator.signature.outputs[0]
    if numpy_seeds is not None:
        raise GanExportError(f"--rng numpy is for images; leave it out for {value_sinks.KINDS[port.kind]}")
    target = Path(out or ("samples.png" if port.kind == "volume" else "samples"))
    total = value_sinks.usual_count(target) if count is None else count
    total = len(next(iter(own.values()))) if own else total

    def make(rows: range) -> Floats:
        given = {name: values[rows.start : rows.stop] for name, values in own.items()}
        return generator.values(len(rows), seed=seed, start=start + rows.start, labels=labels, **given)

    with Progress(total) as advance:
        writing.write_values(target, port, make, total, form=form, first=start, batch=batch, progress=advance)
    what = value_sinks.KINDS[port.kind] if total > 1 else value_sinks.KINDS[port.kind][:-1]
    say(f"wrote {target}: {total} {what} by {generator.info.runtime} ({generator.info.provider})")
    if generator.reading is not None:
        suggest("gan-export", "onnx", file)


def _numpy_seeds(rng: Rng, seeds: str | None, seed: int, count: int, *, own: bool, mix: bool) -> list[int] | None:
    """The seeds of `--rng numpy`, without --seeds those from --seed on; None for the latent law.

    own: whether latents are in a file; then, with --mix, only the mix's seeds are numpy's
    """
    from gan_export.sampling.numpy_seeds import parse_seeds

    if rng == "philox":
        if seeds is not None:
            raise GanExportError(
                "--seeds is for --rng numpy, as in NVlabs' scripts: add that; the latent law has one seed, and -n and "
                "--start"
            )
        return None
    if own and not mix:
        raise GanExportError("--rng numpy computes latents, and --latents names them; leave one out")
    if own:
        return None
    return parse_seeds(seeds if seeds is not None else f"{seed}-{seed + count - 1}")


def _own_latents(generator: Generator, file: Path | None, loading: Loading) -> Mapping[str, Floats]:
    """The latents of `--latents`, (N, ...) by the name of the input; empty without a file.

    Rows (N, F) are z if the generator has a mapping, unless --input says that they are w.
    """
    from gan_export.sampling.latent_files import holds_ws, read_latents
    from gan_export.sampling.styles import has_mapping

    if file is None:
        return {}
    if has_mapping(generator) and loading.overrides.input is None and not holds_ws(file):
        generator = generator.parts().mapping
    port = generator.start_port("--latents")
    return {port.name: read_latents(file, port)}


def _check_counts(total: int, batch: int) -> None:
    if not 1 <= total <= 1 << 40:
        raise GanExportError(f"-n {total}: must be 1 to 2^40")
    if batch < 1:
        raise GanExportError(f"--batch {batch}: must be at least 1")


def main() -> None:
    """The entry point."""
    common.main(app, "gan-sample")
