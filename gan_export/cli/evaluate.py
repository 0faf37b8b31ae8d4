"""gan-sample evaluate: the distance of generated images from real ones, by the features of an evaluator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gan_export.cli.loading import Loading, opened
from gan_export.cli.options import Seed
from gan_export.cli.say import say, suggest
from gan_export.errors import GanExportError, printable

if TYPE_CHECKING:
    from gan_export.metrics.comparison import Comparison
    from gan_export.metrics.digits import Report
    from gan_export.sampling.generator import Generator


def evaluate(
    file: Annotated[Path, typer.Argument(help="A checkpoint, .onnx, TorchScript or .gan file of a digit generator.")],
    *,
    count: Annotated[int, typer.Option("-n", "--count", help="Number of images; at least 1,000.")] = 10_000,
    seed: Seed = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")] = None,
    nearest: Annotated[
        Path | None,
        typer.Option("--nearest", metavar="PNG", help="Write 64 images next to their nearest training digits."),
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option("--data-root", help="Folder of torchvision's datasets, for --nearest.")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option("--features", metavar="NAME|ONNX", help="inception, a plugin's evaluator, or an ONNX file."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="FILE", help="Weights of --features inception.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--reference", metavar="DIR|NPZ", help="Real images, or their statistics (--write-reference)."),
    ] = None,
    resize: Annotated[
        bool, typer.Option("--resize", help="Crop and resize the images of --reference to the generator's size.")
    ] = False,
    write_reference: Annotated[
        Path | None,
        typer.Option("--write-reference", metavar="NPZ", help="Write the statistics of --reference to use again."),
    ] = None,
    loading: Loading,
) -> None:
    """Measure FILE's images against real ones: Frechet distance, precision, recall, coverage, ...

    Without --features, FILE must generate digits, which are compared with MNIST's.
    """
    from gan_export import images
    from gan_export._lib.escape import json_text
    from gan_export._lib.fs import atomic_file, check_target, write_text
    from gan_export.pipeline import evaluate as evaluation

    for target in (json_file, nearest, write_reference):
        if target is not None:
            check_target(target)
    if count < evaluation.LEAST:
        raise GanExportError(f"-n {count}: must be at least {evaluation.LEAST}")
    if features is not None and against is not None:
        chosen = _Chosen(features, weights, against, resize, write_reference)
        _compare(file, chosen, count=count, seed=seed, json_file=json_file, loading=loading)
        return
    for flag, given in (("--reference", against), ("--features", features)):
        if given is not None:
            other = "--features" if flag == "--reference" else "--reference"
            raise GanExportError(f"{flag} {given}: give {other} as well; the features of real images are compared")
    if weights or resize or write_reference:
        raise GanExportError("--weights, --resize and --write-reference need --features and --reference")
    with opened(file, loading) as generator:
        report = evaluation.evaluate(generator, count, seed)
        memory = evaluation.memory(generator, data_root, seed) if nearest else None
        figures = {**report.to_json(), "seed": seed}
        if memory is not None and nearest is not None:
            images.write_png(nearest, memory.sheet)
            figures |= {"neighbor_ratio": memory.ratio, "neighbors_searched": memory.searched}
        if json_file is not None:
            with atomic_file(json_file) as temporary:
                write_text(temporary, json_text(figures, indent=2))
        _say_report(report)
        if memory is not None:
            say(
                f"distance to the nearest of {memory.searched:,} training digits: {memory.ratio:.2f} times "
                f"that of {memory.held_out}"
            )
            say(f"wrote {nearest}")
        _suggest_next(file, generator)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The flags of a comparison."""

    features: str
    weights: Path | None
    against: Path
    resize: bool
    write: Path | None


def _compare(file: Path, chosen: _Chosen, *, count: int, seed: int, json_file: Path | None, loading: Loading) -> None:
    """Measure with --features against --reference."""
    from gan_export._lib.escape import json_text
    from gan_export._lib.fs import atomic_file, write_text
    from gan_export.cli.progress import Progress
    from gan_export.metrics import evaluators, reference
    from gan_export.pipeline import compare

    if chosen.write is not None and chosen.write.suffix != ".npz":
        raise GanExportError(f"--write-reference {printable(chosen.write.name)}: statistics are written as .npz")
    folder = chosen.against.is_dir()
    if not folder and (chosen.resize or chosen.write):
        raise GanExportError("--resize and --write-reference take a folder of images as --reference")
    kept = None if folder else reference.load(chosen.against)
    evaluator = evaluators.find(chosen.features, chosen.weights)
    with opened(file, loading) as generator:
        if kept is None:
            kept = compare.measure_folder(chosen.against, evaluator, generator.image, resize=chosen.resize)
            if chosen.write is not None:
                kept.save(chosen.write)
                say(f"wrote {chosen.write}")
        with Progress(count) as progress:
            found = compare.compare(generator, evaluator, kept, count=count, seed=seed, progress=progress)
    if json_file is not None:
        with atomic_file(json_file) as temporary:
            write_text(temporary, json_text({**found.to_json(), "seed": seed}, indent=2))
    _say_comparison(found, kept.source)
    if chosen.write is not None:
        suggest("gan-sample", "evaluate", "OTHER", "--features", chosen.features, "--reference", chosen.write)
    else:
        _suggest_next(file, generator)


def _suggest_next(file: Path, generator: Generator) -> None:
    if generator.reading is not None:
        suggest("gan-export", "onnx", file)
    else:
        suggest("gan-bench", file)


def _say_comparison(found: Comparison, source: str) -> None:
    rows = [
        ("Frechet distance", f"{found.frechet:.4g}"),
        ("kernel distance", f"{found.kernel:.4g} ± {found.kernel_spread:.2g}"),
        ("precision", f"{found.precision:.3f}"),
        ("recall", f"{found.recall:.3f}"),
        ("density", f"{found.density:.3f}"),
        ("coverage", f"{found.coverage:.3f}"),
    ]
    for name, value in rows:
        say(f"{name:20}  {value}")
    say(
        f"{found.images:,} images against {found.reference_images:,} of {printable(source)}, in the features of "
        f"{printable(found.evaluator, 60)}; precision, recall, density and coverage by {found.neighbors:,} of each. "
        "Compare these figures only with figures of the same features and reference."
    )


def _say_report(report: Report) -> None:
    d, f = report.distances, report.floor
    rows = [
        ("recognized with 90 % confidence", f"{report.sure_share:.2%}", f"{report.sure_share_real_test:.2%}"),
        ("Frechet distance", f"{d.frechet:.2f}", f"{f.frechet:.2f}"),
        ("precision", f"{d.precision:.3f}", f"{f.precision:.3f}"),
        ("recall", f"{d.recall:.3f}", f"{f.recall:.3f}"),
        ("coverage", f"{d.coverage:.3f}", f"{f.coverage:.3f}"),
    ]
    if report.agreement is not None:
        rows.append(("agreement with the label", f"{report.agreement:.2%}", f"{report.judge_test_accuracy:.2%}"))
    say(f"{'':32}  {'generated':>10}  {'real':>8}")
    for name, generated, real in rows:
        say(f"{name:32}  {generated:>10}  {real:>8}")
    say("each digit, 0 to 9: " + " ".join(f"{share:.1%}" for share in report.digits))
    say(
        f"{report.pictures:,} images; distances to MNIST's test digits in the features of the bundled classifier "
        f"(accuracy {report.judge_test_accuracy:.2%}).  real: {report.floor_pictures:,} training digits; "
        "for the confidence, the test digits"
    )
