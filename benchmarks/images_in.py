"""Time the C engine beside ONNX Runtime, OpenVINO and ncnn on generators of 3 x 3 convolutions, most from images.

    python benchmarks/images_in.py [-o FILE] [--rounds 5] [--seconds 1] [--only NAME ...]

Run from the repository's root: the networks are those of tests/originals, with random weights.  Each contender is a
process of its own with one thread and one image at a time.  In each round, all take turns of some seconds.  The times
are processor time of the contender's process (others' load hardly counts, stolen time and shared caches do), medians
of the medians of the turns.  The largest difference of each contender's image to PyTorch's, over PyTorch's standard
deviation, stands beside them.  ncnn has its Winograd on, which is its default.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CONTENDERS = ("native", "onnxruntime", "openvino", "ncnn")
# name -> side of the image that goes in, 0 for a latent
NETWORKS = {
    "resnet_9blocks 256": 256,
    "unet_256": 256,
    "srvgg x4 128": 128,
    "rrdb 6 blocks 64": 64,
    "sngan residual 64": 0,
}


def network(name: str) -> Any:
    """Return the network as a module of PyTorch."""
    from tests.originals import images_in, residual

    makers: dict[str, Callable[[], Any]] = {
        "resnet_9blocks 256": lambda: images_in.JunyanzResnet(64, 9, "instance"),
        "unet_256": lambda: images_in.JunyanzUnet(64, 8, "instance", dropout=False),
        "srvgg x4 128": lambda: images_in.Srvgg(64, 32, 4),
        "rrdb 6 blocks 64": lambda: images_in.Rrdb(64, 6),
        "sngan residual 64": lambda: residual.Mimicry([1024, 512, 256, 128, 64]),
    }
    return makers[name]()


def write(name: str, folder: Path) -> None:
    """Write the network's files, an input and PyTorch's output into the folder."""
    import pnnx
    import torch

    from gan_export import checkpoint, exporters
    from gan_export.exporters.base import Options
    from gan_export.exporters.native import encode
    from gan_export.graph.fold import fold_batchnorm

    torch.manual_seed(0)
    module = network(name).eval()
    torch.save(module.state_dict(), folder / "g.pth")
    read = checkpoint.read(folder / "g.pth")
    (folder / "g.gan").write_bytes(encode(*fold_batchnorm(read.spec, read.weights)))
    exporters.find("onnx").write(read, folder / "g.onnx", Options())
    side = NETWORKS[name]
    given = torch.rand(1, 3, side, side) if side else torch.randn(1, int(read.signature.inputs[0].shape[0]))
    from gan_export.graph.torch_module import build_module

    reference = build_module(read.spec, read.weights).eval()
    with torch.inference_mode():
        np.savez(folder / "g.npz", input=given.numpy(), output=reference(given).numpy())
        torch.jit.trace(reference, given).save(folder / "g.pt")  # type: ignore[no-untyped-call]
    shape = ",".join(map(str, given.shape))
    command = [pnnx.EXEC_PATH, "g.pt", f"inputshape=[{shape}]", "fp16=0"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def load(contender: str, folder: Path) -> Callable[[], Any]:
    """Return a call that computes one image with one thread and returns it."""
    given = np.load(folder / "g.npz")["input"]
    match contender:
        case "native":
            from gan_export.runtimes.native import Model

            model = Model(folder / "g.gan")
            if model.channels:
                return lambda: model.apply_floats(given, threads=1)
            return lambda: model.generate_floats(latents=given, threads=1)
        case "onnxruntime":
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            session = onnxruntime.InferenceSession(folder / "g.onnx", options, providers=["CPUExecutionProvider"])
            name = session.get_inputs()[0].name
            return lambda: session.run(None, {name: given})[0]
        case "openvino":
            import openvino

            core = openvino.Core()
            read = core.read_model(folder / "g.onnx")
            read.reshape({read.inputs[0].any_name: given.shape})
            compiled = core.compile_model(read, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"})
            request = compiled.create_infer_request()
            return lambda: next(iter(request.infer([given]).values()))
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(str(folder / "g.ncnn.param"))
    net.load_model(str(folder / "g.ncnn.bin"))

    def run() -> Any:
        with net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(given[0]))
            return np.array(extractor.extract("out0")[1])[None]

    return run


def work(contender: str, folder: Path) -> None:
    """Answer each line of standard input, a number of seconds, with a line of the times of the calls made in them."""
    call = load(contender, folder)
    want = np.load(folder / "g.npz")["output"]
    error = float(np.abs(np.asarray(call()) - want).max() / want.std())
    print(json.dumps(error), flush=True)
    for line in sys.stdin:
        times: list[float] = []
        end = time.monotonic() + float(line)
        while not times or time.monotonic() < end:
            before = time.process_time()
            call()
            times.append(time.process_time() - before)
        print(json.dumps(times), flush=True)


def measure(name: str, folder: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Return milliseconds and error of each contender, and its median of each turn."""
    started: dict[str, subprocess.Popen[str]] = {}
    result: dict[str, Any] = {}
    settings = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for contender in CONTENDERS:
        command = [sys.executable, __file__, "--worker", contender, str(folder)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=settings
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        if first:
            started[contender] = process
            result[contender] = {"error": json.loads(first), "turns": []}
        else:
            print(f"{name}: {contender} doesn't run it")
    for turn in range(rounds + 1):  # the first one warms up
        for contender, process in started.items():
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{seconds}\n")
            process.stdin.flush()
            times = json.loads(process.stdout.readline())
            if turn:
                result[contender]["turns"].append(1000 * statistics.median(times))
    for contender, process in started.items():
        process.communicate("")
        result[contender]["ms"] = statistics.median(result[contender]["turns"])
    return result


def main() -> None:
    """Measure the networks and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--only", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker[0], Path(options.worker[1]))
        return
    from gan_export.bench import environment

    results: dict[str, Any] = {"machine": platform.machine(), "versions": environment.versions(), "networks": {}}
    print("| Network | " + " | ".join(CONTENDERS) + " | native / best |")
    print("|---|" + "---|" * (len(CONTENDERS) + 1))
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder:
            write(name, Path(folder))
            found = measure(name, Path(folder), options.rounds, options.seconds)
        results["networks"][name] = found
        cells = [f"{found[c]['ms']:.1f} ({found[c]['error']:.0e})" if c in found else "-" for c in CONTENDERS]
        peers = [found[c]["ms"] for c in CONTENDERS[1:] if c in found]
        ratio = f"{min(peers) / found['native']['ms']:.2f}" if peers and "native" in found else "-"
        print(f"| {name} | " + " | ".join(cells) + f" | {ratio} |", flush=True)
        if options.output:
            options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
