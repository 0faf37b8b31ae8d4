"""How near a dataset comes to what holds it: the engine alone, the encoder and the files alone.

    python benchmarks/scale.py g.gan [-n PICTURES] [--json FILE]

Every figure is from a fresh process, in pictures a second of processor time (user and system) of one core: that
doesn't count waits, and is nearly the same on a machine that does other things meanwhile.  A dataset's figure is
that of the whole command, its start and all its processes.  The encoder is fed pictures that are there already and
writes files as `--format png` does; "both" is what a core can reach that must draw and encode each picture:
1 / (1 / engine + 1 / encoder).
"""

from __future__ import annotations

import argparse
import json
import resource
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
begun, n = time.process_time(), 0
while time.process_time() - begun < seconds:
    model.generate(0, 64, start=n, label="all", threads=1); n += 64
print(n / (time.process_time() - begun))
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
begun, n, k = time.process_time(), 0, 0
while time.process_time() - begun < seconds:
    with tempfile.TemporaryDirectory(dir=sys.argv[3]) as folder:
        at = time.process_time()
        Png().write(Place(Path(folder), Path(folder), 0, 960, Meter()), job, job.shard(k), parts)
        n, k, spent = n + 960, k + 1, time.process_time() - at
    begun += time.process_time() - at - spent  # removing the folder again is no part of it
print(n / (time.process_time() - begun))
"""

ON_THE_FLY = """
import sys, time, gan_export
pictures, seconds = gan_export.dataset(sys.argv[1], seed=7, length=10**7, threads=1), float(sys.argv[2])
pictures.__getitems__(list(range(64)))
begun, n = time.process_time(), 0
while time.process_time() - begun < seconds:
    pictures.__getitems__(list(range(n, n + 64))); n += 64
print(n / (time.process_time() - begun))
"""
FROM_DISK = """
import sys, time, numpy as np, torch
from pathlib import Path
from PIL import Image
files, seconds = sorted(Path(sys.argv[3]).glob("png/*/*.png")), float(sys.argv[2])
begun, n = time.process_time(), 0
while time.process_time() - begun < seconds:
    picture = np.array(Image.open(files[n % len(files)]))
    torch.from_numpy(picture)[None].to(torch.float32).div_(127.5).sub_(1.0); n += 1
print(n / (time.process_time() - begun))
"""


def alone(program: str, *arguments: str) -> float:
    """What one process prints."""
    run = [sys.executable, "-c", program, *arguments]
    return float(subprocess.run(run, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout)


def dataset(generator: str, format: str, count: int, folder: str) -> tuple[float, int, list[str]]:
    """Pictures a second of processor time, the largest sum of resident bytes, the table."""
    words = [generator, "-n", str(count), "--format", format, "-o", f"{folder}/{format}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.Popen([sys.executable, "-c", SAMPLE, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    peak = 0
    while run.poll() is None:
        peak = max(peak, resident(run.pid))
        time.sleep(0.25)
    assert run.returncode == 0
    assert run.stdout is not None
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return count / spent, peak, run.stdout.read().splitlines()


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
        engine = alone(ENGINE, asked.generator, str(asked.seconds))
        encoder = alone(ENCODER, asked.generator, str(asked.seconds), folder)
        both = 1 / (1 / engine + 1 / encoder)
        found: dict[str, object] = {"pictures": asked.n, "engine": engine, "encoder": encoder, "both": both}
        print(f"engine alone {engine:,.0f} img/s, PNG encoder and disk alone {encoder:,.0f}, both {both:,.0f}")
        for format, bound in (("raw", engine), ("png", both)):
            speed, peak, table = dataset(asked.generator, format, asked.n, folder)
            found[format] = {"speed": speed, "of_bound": speed / bound, "peak_bytes": peak, "table": table}
            print(f"{format}: {speed:,.0f} img/s, {speed / bound:.0%} of its bound, {peak / 2**20:,.0f} MiB at most")
            print(*table, sep="\n")
        for name, program in (("on the fly", ON_THE_FLY), ("PNGs from disk", FROM_DISK)):
            speed = alone(program, asked.generator, str(asked.seconds), folder)
            found[name] = speed
            print(f"tensors, {name}: {speed:,.0f} img/s")
    if asked.json:
        Path(asked.json).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
