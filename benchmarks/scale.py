"""Compare the speed of writing a dataset with its limits, and images generated for training with PNGs from a disk.

    python benchmarks/scale.py g.gan [-n PICTURES] [--parts engine encoder raw png loaders] [--folder DIR] [--json FILE]

All figures are images per second of wall-clock time, on all cores that this process may use, each from fresh processes;
measure on a machine that does nothing else.  A dataset's figure is that of the whole command, including its start and
end.  "engine alone": one process per core with one thread generates batches of 64 and drops them.  "encoder alone": one
process per core encodes images that exist already, and writes files as `--format png` does, which are on the disk at
the end, as a dataset's are.  "both" is the limit for cores that generate and encode each image:
1 / (1 / engine + 1 / encoder).

"loaders": shuffled batches of 64 by a DataLoader with one worker per core, generated on the fly by gan_export.dataset,
or the same images as PNGs through torchvision's ImageFolder, from the page cache: as in tutorials (which decode to
RGB), and with a loader that keeps them gray.

With --json, each run adds its figures to the file, and the medians of all its runs are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from gan_export.bench import environment

ROOT = Path(__file__).resolve().parents[1]
CORES = len(os.sched_getaffinity(0))
PARTS = ("engine", "encoder", "raw", "png", "loaders")
SAMPLE = "import sys; from gan_export.cli.sample import main; main()"
_TOGETHER = """
def wait():
    print("ready", flush=True); input()
"""
ENGINE = """
import sys, time
from gan_export.runtimes.native import Model
model, seconds, core = Model(sys.argv[1]), float(sys.argv[2]), int(sys.argv[4])
model.generate(0, 64, threads=1)
wait()
begun, n = time.perf_counter(), 0
while time.perf_counter() - begun < seconds:
    model.generate(core, 64, start=n, label="all", threads=1); n += 64
print(n / (time.perf_counter() - begun))
"""
ENCODER = """
import os, sys, time, tempfile, numpy as np
from pathlib import Path
from gan_export.runtimes.native import Model
from gan_export.graph.signature import Signature
from gan_export.datasets.formats.base import Stopwatch, ImageBatch, ShardOutput
from gan_export.datasets.formats.png import Png
from gan_export.datasets.plan import DatasetPlan
model, seconds = Model(sys.argv[1]), float(sys.argv[2])
c, h, w = model.image
job = DatasetPlan("g", "", Signature.of_latent(1, "normal", (c, h, w)), "", "", 0, 0, 10**9, "png", 1000)
pictures = [model.generate(0, 64, start=64 * k, label="all", threads=1) for k in range(15)]
parts = [ImageBatch(np.arange(64 * k, 64 * k + 64, dtype=np.uint64), p, None) for k, p in enumerate(pictures)]
wait()
begun, n, k = time.perf_counter(), 0, 0
while time.perf_counter() - begun < seconds:  # nothing is removed meanwhile: that would hold the file system up
    folder = Path(tempfile.mkdtemp(dir=sys.argv[3]))
    Png().write(ShardOutput(folder, folder, 0, 960, Stopwatch()), job, job.shard(k), parts)
    n, k = n + 960, k + 1
os.sync()
print(n / (time.perf_counter() - begun))
"""
LOADER = """
import sys, time, torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from PIL import Image
import gan_export
generator, seconds, folder, kind, workers = sys.argv[1], float(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
torch.set_num_threads(1)
channels = gan_export.open(generator).image[0]
grey = [transforms.Grayscale()] if channels == 1 and kind == "ImageFolder" else []
said = transforms.Compose([*grey, transforms.ToTensor(), transforms.Normalize([0.5] * channels, [0.5] * channels)])
def plain(path):
    with Image.open(path) as f:
        return f.copy()
files = ImageFolder(folder, said, **({} if kind == "ImageFolder" else {"loader": plain}))
data = gan_export.dataset(generator, seed=7, length=len(files)) if kind == "on the fly" else files
loader = DataLoader(data, batch_size=64, shuffle=True, num_workers=workers, persistent_workers=True)
def batches():
    while True:
        yield from loader
endless = batches()
for _ in range(50):
    next(endless)
begun, n = time.perf_counter(), 0
while time.perf_counter() - begun < seconds:
    batch = next(endless)
    n += len(batch[0] if isinstance(batch, list) else batch)
print(n / (time.perf_counter() - begun))
"""
LOADERS = ("on the fly", "ImageFolder", "ImageFolder, kept grey")


def together(program: str, *arguments: str) -> float:
    """Return the sum of the figures of one process per core; all begin when all are ready."""
    run = [sys.executable, "-c", _TOGETHER + program, *arguments]
    processes = [
        subprocess.Popen([*run, str(core)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for core in range(CORES)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return sum(float(process.communicate()[0]) for process in processes)


def alone(program: str, *arguments: str) -> float:
    """Return the figure of one process."""
    run = [sys.executable, "-c", program, *arguments]
    return float(subprocess.run(run, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout)


def dataset(generator: str, format: str, count: int, folder: str) -> tuple[float, int, list[str]]:
    """Return images per second, the largest sum of resident bytes, and the table."""
    words = ["dataset", generator, "-n", str(count), "--format", format, "-o", f"{folder}/{format}"]
    begun = time.perf_counter()
    run = subprocess.Popen([sys.executable, "-c", SAMPLE, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    peak = 0
    while run.poll() is None:
        peak = max(peak, resident(run.pid))
        time.sleep(0.25)
    spent = time.perf_counter() - begun
    assert run.returncode == 0
    assert run.stdout is not None
    return count / spent, peak, run.stdout.read().splitlines()


def resident(pid: int) -> int:
    """Return the resident bytes of a process and its children, counting each shared page once (PSS)."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return sum(pss(int(p)) for p in (pid, *children))
    except OSError:
        return 0


def pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def measure(generator: str, parts: list[str], count: int, seconds: float, folder: str) -> dict[str, float]:
    """Return figures by name: images per second, or bytes if the name says so."""
    found: dict[str, float] = {}
    for part in parts:
        match part:
            case "engine":
                found["engine alone"] = together(ENGINE, generator, str(seconds), folder)
            case "encoder":
                found["PNG encoder and files alone"] = together(ENCODER, generator, str(seconds), folder)
            case "loaders":
                if not Path(folder, "png").exists():
                    dataset(generator, "png", 20_000, folder)
                for kind in LOADERS:
                    found[f"DataLoader, {kind}"] = alone(
                        LOADER, generator, str(seconds), f"{folder}/png", kind, str(CORES)
                    )
            case format:
                speed, peak, table = dataset(generator, format, count, folder)
                found[f"--format {format}"], found[f"--format {format}, bytes"] = speed, peak
                print(*table, sep="\n")
    return found


def show(runs: list[dict[str, float]]) -> None:
    """Print medians; shares are computed within a run, because a machine isn't as fast in the next one."""
    for run in runs:
        engine, encoder = run.get("engine alone"), run.get("PNG encoder and files alone")
        if engine and "--format raw" in run:
            run["--format raw, share of its bound"] = run["--format raw"] / engine
        if engine and encoder:
            run["both"] = 1 / (1 / engine + 1 / encoder)
            if "--format png" in run:
                run["--format png, share of its bound"] = run["--format png"] / run["both"]
    for name in dict.fromkeys(name for run in runs for name in run):
        values = [run[name] for run in runs if name in run]
        middle = statistics.median(values)
        if name.endswith("bytes"):
            text = f"{middle / 2**20:10,.0f} MiB at most, in all its processes"
        else:
            text = f"{middle:10.1%}" if "share" in name else f"{middle:10,.0f} img/s"
        print(f"{name:34}{text}  (median of {len(values)})")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("generator")
    parser.add_argument("-n", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--folder", type=Path, help="Write there, and leave it; without, a folder for the time.")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    generator = os.path.abspath(asked.generator)
    before = environment.load()
    with tempfile.TemporaryDirectory() as temporary:
        folder = str(asked.folder or temporary)
        Path(folder).mkdir(parents=True, exist_ok=True)
        figures = measure(generator, asked.parts, asked.n, asked.seconds, folder)
    record = {"machine": asdict(environment.describe()), "generator": Path(generator).name, "runs": []}
    if asked.json and asked.json.exists():
        record = json.loads(asked.json.read_text())
    after = environment.load()
    record["runs"].append({
        "figures": figures, "pictures": asked.n, "seconds": asked.seconds, "versions": environment.versions(),
        "commit": environment.commit(), "load_average": [getattr(x, "average", None) for x in (before, after)],
    })  # fmt: skip
    if asked.json:
        asked.json.write_text(json.dumps(record, indent=1) + "\n")
    show([dict(run["figures"]) for run in record["runs"]])


if __name__ == "__main__":
    main()
