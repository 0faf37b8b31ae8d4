"""Measure the effects of a precision on a digit generator: size, accuracy, quality and time, as a Markdown table.

    python benchmarks/precisions.py g.pth [-n PICTURES]

Every file is exported and verified as by `gan-export`.  PSNR and equal bytes are relative to the same format in fp32;
the Frechet distance, in the features of the bundled digit classifier, once to those images and once to MNIST's test
digits.  Times are medians of one call for 64 images with one thread, with the files in turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_export import checkpoint, exporters, runtimes
from gan_export.exporters.base import Options
from gan_export.metrics import digits, distances
from gan_export.pipeline import evaluate, publish
from gan_export.sampling.generator import Generator

FORMS = (
    ("onnx", "fp32"), ("onnx", "fp16"), ("onnx", "int8"), ("openvino", "fp32"), ("openvino", "int8"),
)  # fmt: skip
BATCH, TURNS = 64, 60
HEAD = ("Format", "Precision", "Size", "PSNR", "Equal bytes", "To fp32", "To MNIST", "64 pictures")


@dataclass(frozen=True, slots=True)
class Made:
    """An export: its size in bytes, its session, and its first images."""

    format: str
    precision: str
    size: int
    session: Any
    pictures: npt.NDArray[np.uint8]


def make(read: checkpoint.Checkpoint, name: str, precision: str, folder: Path, count: int) -> Made:
    exporter = exporters.find(name)
    target = folder / f"{name}-{precision}{exporter.suffix}"
    shipped = publish.export(read, exporter, target, Options(precision=precision))
    session = runtimes.find(exporter.runtime).load(target, threads=1)
    drawn = evaluate.draw(Generator(read.signature, session), count, evaluate.SEED)
    return Made(name, precision, shipped.size, session, drawn)


def times(made: list[Made], read: checkpoint.Checkpoint) -> list[float]:
    """Return the median seconds of a call, in turns."""
    bound = [one.session.bind(read.signature.feeds(0, range(BATCH))) for one in made]
    spent: list[list[float]] = [[] for _ in made]
    for turn in range(TURNS + 5):
        for call, seconds in zip(bound, spent, strict=True):
            begun = time.perf_counter()
            call()
            if turn >= 5:
                seconds.append(time.perf_counter() - begun)
    return [statistics.median(seconds) for seconds in spent]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("-n", type=int, default=5000)
    arguments = parser.parse_args()
    read = checkpoint.read(arguments.checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        made = [make(read, name, precision, Path(folder), arguments.n) for name, precision in FORMS]
        seconds = times(made, read)
        judge = digits.judge()
        full = {one.format: one.pictures for one in made if one.precision == "fp32"}
        print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|")
        for one, spent in zip(made, seconds, strict=True):
            wanted = full[one.format]
            square = float(np.mean((one.pictures.astype(np.float64) - wanted) ** 2))
            ours, theirs = (
                distances.Gaussian.of(judge.classifier.features(digits.to_classifier_input(pictures)))
                for pictures in (one.pictures, wanted)
            )
            row = (
                one.format, one.precision, f"{one.size / 1e6:.2f} MB",
                f"{10 * np.log10(255**2 / square):.1f} dB" if square else "-",
                f"{(one.pictures == wanted).mean():.2%}", f"{max(0.0, distances.frechet(ours, theirs)):.3f}",
                f"{distances.frechet(ours, judge.test):.2f}", f"{spent * 1e3:.2f} ms",
            )  # fmt: skip
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
