"""Fill a folder of `exported/` from a trained generator: exports, their reports, a preview, a README from them.

    python exported/publish.py RUN/generator_6.pth exported/mnist32 --trained 'gan-train ...'

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
from gan_export.formats.manifest import report_path
from gan_export.graph.views import latent_port
from gan_export.pipeline import evaluate
from gan_export.pipeline import publish as publishing
from gan_export.sampling.generator import Label
from gan_export.sampling.opening import open_generator

FORMATS = ("onnx", "torchscript")
SEED, COUNT = 7, 64
SHOWN = 40  # volumes in a preview
MEASURES = (
    ("frechet", "Frechet distance to real test digits, in its features"),
    ("precision", "precision: share of these among the real ones"),
    ("recall", "recall: share of the real ones among these"),
    ("coverage", "coverage: share of the real ones with one of these nearby"),
)


def publish(source: Path, folder: Path, trained: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    generator = folder / "generator.pth"
    if source.resolve() != generator.resolve():
        shutil.copyfile(source, generator)
    read = checkpoint.read(generator)
    shipped = []
    for name in FORMATS:
        exporter = exporters.find(name)
        shipped.append((exporter.title, publishing.export(read, exporter, folder / f"generator{exporter.suffix}")))
    if read.signature.outputs[0].kind == "volume":
        with open_generator(folder / "generator.onnx") as opened:
            labels = opened.signature.inputs_of("label")
            made = opened.values(SHOWN, seed=SEED, labels="all" if labels else "random")
        sheet = images.grid(volumes.surfaces(made, read.signature.outputs[0].range or (-1.0, 1.0), side=96), 10)
        images.write_png(folder / "preview.png", sheet)
        (folder / "README.md").write_text(readme(folder, read, shipped, None, trained), encoding="utf-8")
        return
    with open_generator(folder / "generator.onnx") as opened:
        label: Label = "all" if opened.classes else "random"
        images.write_png(folder / "preview.png", images.grid(opened.sample(COUNT, seed=SEED, labels=label)))
        judged = {"seed": evaluate.SEED, **evaluate.evaluate(opened).to_json()}
    (folder / "judged.json").write_text(json.dumps(judged, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(readme(folder, read, shipped, judged, trained), encoding="utf-8")


def readme(
    folder: Path,
    read: checkpoint.Checkpoint,
    shipped: list[tuple[str, publishing.ExportResult]],
    judged: dict[str, Any] | None,
    trained: str,
) -> str:
    facts = describe(read)
    port = read.signature.outputs[0]
    shape = "x".join(map(str, port.dims({})[1:]))
    latent = latent_port(read.signature, folder.name).shape[0]
    rows = [f"| `generator.pth` | the checkpoint, a bare state_dict | {_mb(folder / 'generator.pth')} | |"]
    for title, s in shipped:
        worst = "" if s.report.max_abs is None else f"{s.report.max_abs:.1e}"
        rows.append(f"| `{s.path.name}` | {title}, report in `{report_path(s.path).name}` | {_mb(s.path)} | {worst} |")
    kind, count = ("volumes", SHOWN) if port.kind == "volume" else ("images", COUNT)
    return "\n".join(
        [
            f"# {folder.name}",
            "",
            f"This generator makes {shape} {kind} with {port.dims({})[0]} channel from {latent} latent values; "
            f"{facts.parameters:,} parameters, {facts.flops / 1e6:.0f} MFLOP per image. "
            f"`preview.png` shows {kind} 0 to {count - 1} of seed {SEED}, not selected.",
            "",
            "![preview](preview.png)",
            "",
            f"Trained by `{trained}`.",
            "",
            "| File | | Size | Largest error against eager PyTorch |",
            "|---|---|---|---|",
            *rows,
            "",
            f"All of them generate the same {kind}: "
            f"`gan-sample exported/{folder.name}/generator.onnx -n {count} --seed {SEED} -o grid.png`.",
            "",
            *([] if judged is None else quality(judged)),
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


def _mb(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.2f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trained", required=True)
    given = parser.parse_args()
    publish(given.source, given.folder, given.trained)


if __name__ == "__main__":
    main()
