"""How near a dataset comes to what holds it: the engine alone, the encoder and the disk alone.

    python benchmarks/scale.py g.gan [-n PICTURES] [--json FILE]

Every figure is from fresh processes on an otherwise idle machine, as many as it has cores.  The encoder is fed
pictures that are there already and writes files as `--format png` does; "both" is what one core can reach that
must draw and encode each picture: 1 / (1 / engine + 1 / encoder).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = "import sys; from gan_export.cli.sample import main; main()"
ENGINE = """
import sys, time, gan_export
model, seconds = gan_export.open(sys.argv[1]), float(sys.argv[2])
model.generate(0, 64, threads=1)
begun, n = time.perf_counter(), 0
while time.perf_counter() - begun < seconds:
    model.generate(0, 64, start=n, label="all", threads=1); n += 64
print(n / (time.perf_counter() - begun))
"""
ENCODER = """
import sys, time, tempfile, numpy as np
from pathlib import Path
import gan_export
from gan_export.artifact import Facts
from gan_export.scale.formats.base import Meter, Part, Place
from gan_export.scale.formats.png import Png
from gan_export.scale.job import Job
model, seconds = gan_export.open(sys.argv[1]), float(sys.argv[2])
c, h, w = model.image
job = Job("g", "", Facts("", 1, "normal", 0, (c, h, w), None), "", "", 0, 0, 10**9, "png", 1000)
pictures = [model.generate(0, 64, start=64 * k, label="all", threads=1) for k in range(15)]
parts = [Part(np.arange(64 * k, 64 * k + 64, dtype=np.uint64), p, None) for k, p in enumerate(pictures)]
begun, n, k = time.perf_counter(), 0, 0
while time.perf_counter() - begun < seconds:
    with tempfile.TemporaryDirectory(dir=sys.argv[3]) as folder:
        at = time.perf_counter()
        Png().write(Place(Path(folder), Path(folder), 0, 960, Meter()), job, job.shard(k), parts)
        n, k, spent = n + 960, k + 1, time.perf_counter() - at
    begun += time.perf_counter() - at - spent  # removing the folder again is no part of it
print(n / (time.perf_counter() - begun))
"""

ON_THE_FLY = """
import sys, time, gan_export
pictures, seconds = gan_export.dataset(sys.argv[1], seed=7, length=10**7, threads=1), float(sys.argv[2])
pictures.__getitems__(list(range(64)))
begun, n = time.perf_counter(), 0
while time.perf_counter() - begun < seconds:
    pictures.__getitems__(list(range(n, n + 64))); n += 64
print(n / (time.perf_counter() - begun))
"""
FROM_DISK = """
import sys, time, numpy as np, torch
from pathlib import Path
from PIL import Image
files, seconds = sorted(Path(sys.argv[3]).glob("png/*/*.png")), float(sys.argv[2])
begun, n = time.perf_counter(), 0
while time.perf_counter() - begun < seconds:
    picture = np.array(Image.open(files[n % len(files)]))
    torch.from_numpy(picture)[None].to(torch.float32).div_(127.5).sub_(1.0); n += 1
print(n / (time.perf_counter() - begun))
"""


def side_by_side(program: str, *arguments: str) -> float:
    """The sum of what as many processes as there are cores print."""
    cores = len(os.sched_getaffinity(0))
    runs = [
        subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(cores)
    ]
    return sum(float(run.communicate()[0]) for run in runs)


def dataset(generator: str, format: str, count: int, folder: str) -> tuple[float, int, list[str]]:
    """Pictures a second from the start of the command to its end, the largest sum of resident bytes, the table."""
    words = [generator, "-n", str(count), "--format", format, "-o", f"{folder}/{format}"]
    begun = time.perf_counter()
    run = subprocess.Popen([sys.executable, "-c", SAMPLE, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    peak = 0
    while run.poll() is None:
        peak = max(peak, resident(run.pid))
        time.sleep(0.05)
    assert run.returncode == 0
    assert run.stdout is not None
    return count / (time.perf_counter() - begun), peak, run.stdout.read().splitlines()


def resident(pid: int) -> int:
    """Bytes of a process and its children, pages shared among them counted once each (PSS)."""
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("generator")
    parser.add_argument("-n", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engine = side_by_side(ENGINE, asked.generator, str(asked.seconds))
        encoder = side_by_side(ENCODER, asked.generator, str(asked.seconds), folder)
        both = 1 / (1 / engine + 1 / encoder)
        found: dict[str, object] = {"pictures": asked.n, "engine": engine, "encoder": encoder, "both": both}
        print(f"engine alone {engine:,.0f} img/s, PNG encoder and disk alone {encoder:,.0f}, both {both:,.0f}")
        for format, bound in (("raw", engine), ("png", both)):
            speed, peak, table = dataset(asked.generator, format, asked.n, folder)
            found[format] = {"speed": speed, "of_bound": speed / bound, "peak_bytes": peak, "table": table}
            print(f"{format}: {speed:,.0f} img/s, {speed / bound:.0%} of its bound, {peak / 2**20:,.0f} MiB at most")
            print(*table, sep="\n")
        for name, program in (("on the fly", ON_THE_FLY), ("PNGs from disk", FROM_DISK)):
            speed = side_by_side(program, asked.generator, str(asked.seconds), folder)
            found[name] = speed
            print(f"tensors, {name}: {speed:,.0f} img/s")
    if asked.json:
        Path(asked.json).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
