"""Fill a folder of `exported/` from a trained generator: exports, their reports, a preview, a README from them.

    python exported/publish.py RUN/generator_6.pth exported/mnist32 --trained 'gan-train ...'
    python exported/publish.py RUN/generator_375.pth exported/emoji64 --trained 'gan-train ...' \\
        --features NET.onnx --reference NPZ --note 'one sentence' --license 'one sentence'

Digits are measured by the bundled classifier.  With --features, images are compared with those of --reference, the
weights of ONNX are stored in fp16 and a .gan file in fp16 is added, so that the folder stays below 16 MB.
Every figure in the README comes from the files next to it.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from gan_export import checkpoint, exporters, images, latents, volumes
from gan_export.checkpoint.summary import describe
from gan_export.exporters.base import Options
from gan_export.formats.manifest import report_path
from gan_export.graph.views import latent_port
from gan_export.metrics import evaluators, reference
from gan_export.pipeline import compare, evaluate
from gan_export.pipeline import publish as publishing
from gan_export.sampling.generator import Generator
from gan_export.sampling.opening import open_generator

FORMATS = (("onnx", Options()), ("torchscript", Options()))
SMALL = (("onnx", Options(precision="fp16")), ("torchscript", Options()), ("native", Options(precision="fp16")))
SEED, COUNT = 7, 64
SHOWN = 40  # volumes in a preview
MEASURES = (
    ("frechet", "Frechet distance to real test digits, in its features"),
    ("precision", "precision: share of these among the real ones"),
    ("recall", "recall: share of the real ones among these"),
    ("coverage", "coverage: share of the real ones with one of these nearby"),
)
COMPARED = (
    ("frechet", "Frechet distance"),
    ("precision", "precision: share of the generated images that lie near real ones"),
    ("recall", "recall: share of the real images that lie near generated ones"),
    ("coverage", "coverage: share of the real images with a generated one nearby"),
)


def publish(given: argparse.Namespace) -> None:
    folder: Path = given.folder
    folder.mkdir(parents=True, exist_ok=True)
    generator = folder / "generator.pth"
    if given.source.resolve() != generator.resolve():
        shutil.copyfile(given.source, generator)
    read = checkpoint.read(generator)
    shipped = []
    for name, options in SMALL if given.features else FORMATS:
        exporter = exporters.find(name)
        target = folder / f"generator{exporter.suffix}"
        shipped.append((f"{exporter.title}, {options.precision}", publishing.export(read, exporter, target, options)))
    lines: list[str] = []
    with open_generator(folder / "generator.onnx") as opened:
        if read.signature.outputs[0].kind == "volume":
            labels = opened.signature.inputs_of("label")
            made = opened.values(SHOWN, seed=SEED, labels="all" if labels else "random")
            surfaces = volumes.surfaces(made, read.signature.outputs[0].range or (-1.0, 1.0), side=96)
            images.write_png(folder / "preview.png", images.grid(surfaces, 10))
        else:
            shown = opened.sample(COUNT, seed=SEED, labels="all" if opened.classes else "random")
            columns = [k for k in range(max(1, opened.classes)) if k not in given.hide]
            kept = [i for i in range(COUNT) if not given.hide or i % opened.classes in columns]
            sheet = images.grid(shown[kept], len(columns) if given.hide else None)
            images.write_png(folder / "preview.png", sheet)
            judged, lines = measured(opened, given.features, given.reference)
            (folder / "judged.json").write_text(json.dumps(judged, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(readme(given, read, shipped, lines), encoding="utf-8")


def measured(opened: Generator, features: str | None, against: Path | None) -> tuple[dict[str, Any], list[str]]:
    """Return the figures of a generator of images, and the lines of the README on them."""
    if features is None or against is None:
        judged = {"seed": evaluate.SEED, **evaluate.evaluate(opened).to_json()}
        return judged, quality(judged)
    evaluator, real = evaluators.find(features), reference.load(against)
    found = compare.compare(opened, evaluator, real, count=evaluate.COUNT, seed=evaluate.SEED)
    judged = {"seed": evaluate.SEED, **found.to_json()}
    return judged, compared(judged)


def readme(
    given: argparse.Namespace,
    read: checkpoint.Checkpoint,
    shipped: list[tuple[str, publishing.ExportResult]],
    measures: list[str],
) -> str:
    folder: Path = given.folder
    facts = describe(read)
    port = read.signature.outputs[0]
    shape = "x".join(map(str, port.dims({})[1:]))
    latent = latent_port(read.signature, folder.name).shape[0]
    rows = [f"| `generator.pth` | the checkpoint, a bare state_dict | {_mb(folder / 'generator.pth')} | |"]
    for title, s in shipped:
        worst = "" if s.report.max_abs is None else f"{s.report.max_abs:.1e}"
        rows.append(f"| `{s.path.name}` | {title}, report in `{report_path(s.path).name}` | {_mb(s.path)} | {worst} |")
    channels = "1 channel" if port.dims({})[0] == 1 else f"{port.dims({})[0]} channels"
    kind, count = ("volumes", SHOWN) if port.kind == "volume" else ("images", COUNT)
    return "\n".join(
        [
            f"# {folder.name}",
            "",
            f"This generator makes {shape} {kind} with {channels} from {latent} latent values; "
            f"{facts.parameters:,} parameters, {facts.flops / 1e6:.0f} MFLOP per image. "
            f"`preview.png` shows {kind} 0 to {count - 1} of seed {SEED}, not selected."
            + (f" {given.note}" if given.note else ""),
            "",
            "![preview](preview.png)",
            "",
            f"Trained by `{given.trained}`." + (f" {given.license}" if given.license else ""),
            "",
            "| File | | Size | Largest error against eager PyTorch |",
            "|---|---|---|---|",
            *rows,
            "",
            f"All of them generate the same {kind}: "
            f"`gan-sample exported/{folder.name}/generator.onnx -n {count} --seed {SEED} -o grid.png`.",
            "",
            *measures,
            f"Checkpoint sha256 `{read.source.sha256}`; latents by `{latents.LAW}`.",
            "",
        ]
    )


def quality(judged: dict[str, Any]) -> list[str]:
    """Return the lines on what the digit classifier measured."""
    shares = " ".join(f"{share:.1%}" for share in judged["digits"])
    return [
        "## Quality",
        "Measured with a digit classifier that is not used in training; its accuracy on MNIST's test digits is "
        f"{judged['judge_test_accuracy']:.2%} "
        f"(`gan-sample evaluate`, {judged['pictures']:,} images of seed {judged['seed']}; "
        "all figures in `judged.json`):",
        "",
        "| | generated | real test digits |",
        "|---|---|---|",
        f"| recognized with at least 90 % confidence | {judged['sure_share']:.2%} "
        f"| {judged['sure_share_real_test']:.2%} |",
        *(
            f"| {title} | {judged[name]:.3g} | {judged[f'{name}_floor']:.3g} (real training digits) |"
            for name, title in MEASURES
        ),
        *([f"| agrees with its label | {judged['label_agreement']:.2%} | |"] if "label_agreement" in judged else []),
        f"| share of each digit, 0 to 9 | {shares} | |",
        "",
    ]


def compared(judged: dict[str, Any]) -> list[str]:
    """Return the lines on the distance from the images that the generator was trained on."""
    return [
        "## Quality",
        f"{judged['images']:,} images of seed {judged['seed']} against the {judged['reference_images']:,} training "
        f"images, in the features of `{judged['evaluator'].split()[0]}`, a network that took no part in the training "
        "of the generator (`gan-sample evaluate`; all figures in `judged.json`). The figures can't be compared with "
        "those of another network, FIDs of Inception included:",
        "",
        "| | |",
        "|---|---|",
        *(f"| {title} | {judged[name]:.3g} |" for name, title in COMPARED),
        "",
    ]


def _mb(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.2f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trained", required=True)
    parser.add_argument("--features", help="as of gan-sample evaluate; with --reference")
    parser.add_argument("--reference", type=Path, help="statistics of the training images (.npz)")
    parser.add_argument("--hide", type=int, nargs="*", default=[], help="labels that the preview doesn't show")
    parser.add_argument("--note", default="", help="a sentence on the preview, for the README")
    parser.add_argument("--license", default="", help="a sentence on the training images, for the README")
    given = parser.parse_args()
    if (given.features is None) != (given.reference is None):
        parser.error("--features and --reference go together")
    publish(given)


if __name__ == "__main__":
    main()
