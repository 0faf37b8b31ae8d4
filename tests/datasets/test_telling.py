"""Test what a run reports: its progress, and the effect of the latent scale."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gan_export.datasets.plan import Partition
from gan_export.datasets.run import DatasetRequest, run
from gan_export.datasets.writer import GeneratorSource
from gan_export.sampling.opening import open_generator
from tests.conftest import Command
from tests.datasets.conftest import COUNT, SEED, write_generator
from tests.datasets.test_runs import ARGUMENTS


def test_what_psi_costs_is_noted_once(command: Command, gan: Path, tmp_path: Path) -> None:
    out = tmp_path / "d"
    words = ("gan-sample", "dataset", gan, *ARGUMENTS, "npy", "--latent-scale", 0.5, "-o", out, "--part")
    assert command(*words, "1/2").code == 0
    notes = out / ".gan-sample" / "notes.json"
    found = json.loads(notes.read_bytes())["latent_scale"]

    def spread(latent_scale: float) -> float:
        with open_generator(gan, latent_scale=latent_scale) as generator:
            return float(np.abs(np.diff(generator.sample(256, seed=SEED).astype(np.float64), axis=0)).mean())

    assert found == {"latent_scale": 0.5, "of": 256, "variety": pytest.approx(spread(0.5) / spread(1.0), abs=0.001)}
    notes.write_text(json.dumps({"latent_scale": {**found, "variety": 0.123}}))
    assert command(*words, "2/2").code == 0
    assert json.loads((out / "MANIFEST.json").read_bytes())["notes"]["latent_scale"]["variety"] == 0.123


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its memory in /proc")
def test_what_psi_costs_is_measured_in_little_memory(tmp_path: Path) -> None:
    """256 images of 192 KiB are 50 MB, and 200 MB as float32."""
    large = write_generator(tmp_path / "large.gan", 0, channels=3, doublings=6)
    program = (
        "from pathlib import Path\n"
        "from gan_export.cli.sample import main\n"
        "try: main()\n"
        "finally: print(Path('/proc/self/status').read_text())"
    )
    words = ["dataset", large, "-n", 2, "--latent-scale", 0.5, "--format", "npy", "-o", tmp_path / "d"]
    run = subprocess.run([sys.executable, "-c", program, *map(str, words)], check=True, capture_output=True, text=True)
    peak = next(line for line in run.stdout.splitlines() if line.startswith("VmHWM"))
    assert int(peak.split()[1]) < 250_000, peak


def test_progress_is_told_what_is_still_to_be_drawn(labeled_gan: Path, tmp_path: Path) -> None:
    """With a filter, every image counts twice; a resumed run counts only the missing ones."""

    def draw(out: str, **wish: Any) -> tuple[list[int], int]:
        expected, drawn = list[int](), list[int]()
        run(
            GeneratorSource(labeled_gan),
            DatasetRequest(SEED, 0, COUNT, "npy", shard_size=20, workers=1, **wish),
            str(tmp_path / out),
            progress=lambda pictures, size: drawn.append(pictures),
            expect=expected.append,
        )
        return expected, sum(drawn)

    assert draw("filtered", filter="confidence<0.1") == ([2 * COUNT, COUNT], 2 * COUNT)
    assert draw("plain", slice=Partition(1, 2)) == ([40], 40)
    assert draw("plain") == ([30], 30)
    assert draw("plain") == ([], 0)


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
@pytest.mark.long
def test_the_bar_of_a_filtered_run_counts_each_image_twice(gan: Path, tmp_path: Path) -> None:
    import pty

    count = 20_000
    terminal, end = pty.openpty()
    program = "from gan_export.cli.sample import main; main()"
    words = ["dataset", gan, "-n", count, "--format", "npy", "--filter", "confidence<0.1", "-o", tmp_path / "d"]
    run = subprocess.Popen([sys.executable, "-c", program, *map(str, words)], stdout=subprocess.DEVNULL, stderr=end)
    os.close(end)
    output = b""
    with contextlib.suppress(OSError):  # a terminal whose other end is closed
        while data := os.read(terminal, 1 << 16):
            output += data
    os.close(terminal)
    assert run.wait() == 0, output
    shown = [[int(n.replace(",", "")) for n in pair] for pair in re.findall(r"([\d,]+) of ([\d,]+) ", output.decode())]
    assert shown
    assert {total for _, total in shown} == {2 * count}
    assert all(drawn <= total for drawn, total in shown)
    assert "-" not in output.decode()
