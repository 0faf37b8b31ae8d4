"""Measure images per second from a folder that doesn't fit in memory: opening it, and batches on demand and ahead.

    python benchmarks/decoding.py [--pictures 2000] [--rounds 3] [--name NAME]

The images are 256x256, of smooth colors with some noise, converted to 3x64x64 in batches of 64.  The batches are read
one after another, and with pauses of 0.1 s, as with training steps on a GPU: the CPU is idle meanwhile. Writes
results/decoding-NAME.json (raw seconds, machine, versions) beside this file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
SIZE, BATCH, STEP = 64, 64, 0.1  # pixels, images, seconds


def make(folder: Path, suffix: str, count: int) -> None:
    random = np.random.default_rng(0)
    for i in range(count):
        base = Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8))
        smooth = np.asarray(base.resize((256, 256), Image.Resampling.BICUBIC)).astype(int)
        noisy = np.clip(smooth + random.integers(-8, 9, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i:06d}{suffix}")


def measure(folder: Path, ahead: bool) -> dict[str, float]:
    """Return the seconds for opening the folder, and for an epoch's batches without and with steps between them."""
    from gan_export.training import data, recipe
    from gan_export.training.batches import epoch_order

    settings = recipe.Data("folder", str(folder), size=SIZE, channels=3, memory=0)
    began = time.perf_counter()
    source = data.open_source(settings, None)
    found = {"open": time.perf_counter() - began}
    order = epoch_order(len(source), 0, 0)
    batches = [order[i : i + BATCH] for i in range(0, len(order) - BATCH + 1, BATCH)]
    for name, pause in (("batches", 0.0), ("beside", STEP)):
        began = time.perf_counter()
        for i, indices in enumerate(batches):
            source.read(indices)
            if ahead and i + 1 < len(batches):
                source.expect(batches[i + 1])
            time.sleep(pause)
        found[name] = time.perf_counter() - began
    return found


def main(pictures: int, rounds: int, name: str) -> None:
    from gan_export.bench import environment

    before = environment.load()
    runs = []
    for suffix in (".png", ".jpg"):
        with tempfile.TemporaryDirectory() as place:
            make(Path(place), suffix, pictures)
            runs += [
                {"suffix": suffix, "ahead": a, **measure(Path(place), a)} for _ in range(rounds) for a in (False, True)
            ]
    figures = []
    for suffix in (".png", ".jpg"):
        for a in (False, True):
            mine = [r for r in runs if (r["suffix"], r["ahead"]) == (suffix, a)]
            counts = {"open": pictures, "batches": pictures // BATCH * BATCH, "beside": pictures // BATCH * BATCH}
            rates = {k: round(n / statistics.median(r[k] for r in mine)) for k, n in counts.items()}
            figures.append({"suffix": suffix, "ahead": a, **rates})
            print(
                f"{suffix} {'ahead' if a else 'on demand'}: "
                + ", ".join(f"{k} {rate:,} img/s" for k, rate in rates.items())
            )
    after = environment.load()
    result = {
        "what": f"{pictures} pictures of 256x256 to 3x{SIZE}x{SIZE}, batches of {BATCH}, steps of {STEP} s",
        "machine": asdict(environment.describe()), "versions": environment.versions(), "commit": environment.commit(),
        "load_average": [before.average, after.average], "images_per_second": figures, "seconds": runs,
    }  # fmt: skip
    (HERE / "results" / f"decoding-{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--name", default="here")
    asked = parser.parse_args()
    main(asked.pictures, asked.rounds, asked.name)
