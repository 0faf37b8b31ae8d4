"""Measure 16-bit products: the C engine with --arithmetic fast beside other runtimes' narrower precisions.

    python benchmarks/arithmetic.py [--batches 64,1] [--rounds 3] [--seconds 1.5] [--cpu avx2]

Each contender runs the classic generator in a process of its own, in turns, on one thread.  A row is the processor time
per image, the fastest and the median call, which other work on the machine disturbs less than it does the time of the
clock; the precision that the runtime states; and the PSNR to the float32 images of the engine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from gan_export import checkpoint, exporters, runtimes
from gan_export.bench.models import find, write_checkpoint
from gan_export.exporters.base import Options, write
from gan_export.graph.signature import Array

CONTENDERS = {  # name -> runtime, file
    "native": ("native", "g.gan"),
    "native-fast": ("native", "fast.gan"),
    "onnxruntime": ("onnxruntime", "g.onnx"),
    "openvino": ("openvino", "g.onnx"),
    "openvino-bf16": ("openvino-bf16", "g.onnx"),
    "openvino-int8": ("openvino-ir", "int8.xml"),
    "compile-bf16": ("compile-bf16", "g.pth"),
}
FEWEST = 10  # calls


def export(folder: Path) -> None:
    """Write the files of all contenders."""
    write_checkpoint(find("classic"), folder / "g.pth")
    read = checkpoint.read(folder / "g.pth", by_evidence=False)
    for name, file, options in (
        ("native", "g.gan", Options()),
        ("native", "fast.gan", Options(arithmetic="fast")),
        ("onnx", "g.onnx", Options()),
        ("openvino", "int8.xml", Options(precision="int8")),
    ):
        write(exporters.find(name), read, folder / file, options)


def measure(contender: str, folder: Path, batch: int, seconds: float) -> None:
    """Measure one contender, and print its row."""
    runtime, file = CONTENDERS[contender]
    session: Any = runtimes.find(runtime).load(folder / file, threads=1)
    z = np.random.default_rng(0).standard_normal((batch, 100)).astype(np.float32)
    call = session.bind({"z": z})
    call()
    times: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(times) < FEWEST:
        start = time.process_time()
        call()
        times.append(1e3 * (time.process_time() - start) / batch)
    made: Array = call.outputs()["image"]
    known = folder / f"{batch}.npy"
    if contender == "native":
        np.save(known, made)
    square = float(np.mean((made.astype(np.float64) - np.load(known)) ** 2))
    psnr = 10.0 * np.log10(4.0 / square) if square else np.inf
    info = session.info
    print(
        f"{contender:14} {batch:4} {min(times):7.3f} {np.median(times):7.3f} {info.precision:5} {psnr:6.1f} "
        f"{info.provider}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--batches", default="64,1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--cpu", help="kernels of the engine: avx2, avx512, ...")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # what a child measures: contender, folder, batch
    given = parser.parse_args()
    if given.one:
        measure(given.one[0], Path(given.one[1]), int(given.one[2]), given.seconds)
        return
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **({"GAN_CPU": given.cpu} if given.cpu else {})}
    with tempfile.TemporaryDirectory() as folder:
        export(Path(folder))
        print("contender      batch  fastest  median   ms of processor time per image; precision, PSNR, kernels")
        for _ in range(given.rounds):
            for batch in given.batches.split(","):
                for contender in CONTENDERS:
                    child = [sys.executable, __file__, "--seconds", str(given.seconds), "--one"]
                    subprocess.run([*child, contender, folder, batch], env=environment, check=False)


if __name__ == "__main__":
    main()
