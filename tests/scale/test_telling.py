"""What a run tells of itself: what psi costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gan_export import sampling
from tests.conftest import Command
from tests.scale.conftest import SEED, write_generator
from tests.scale.test_runs import ARGUMENTS


def test_what_psi_costs_is_noted_once(command: Command, gan: Path, tmp_path: Path) -> None:
    out = tmp_path / "d"
    words = ("gan-sample", gan, *ARGUMENTS, "npy", "--psi", 0.5, "-o", out, "--shard")
    assert command(*words, "1/2").code == 0
    notes = out / ".gan-sample" / "notes.json"
    found = json.loads(notes.read_bytes())["psi"]

    def spread(psi: float) -> float:
        with sampling.open_generator(gan, psi=psi) as generator:
            return float(np.abs(np.diff(generator.draw(SEED, 0, 256).astype(np.float64), axis=0)).mean())

    assert found == {"psi": 0.5, "of": 256, "variety": pytest.approx(spread(0.5) / spread(1.0), abs=0.001)}
    notes.write_text(json.dumps({"psi": {**found, "variety": 0.123}}))
    assert command(*words, "2/2").code == 0
    assert json.loads((out / "MANIFEST.json").read_bytes())["notes"]["psi"]["variety"] == 0.123


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its memory in /proc")
def test_what_psi_costs_is_measured_in_little_memory(tmp_path: Path) -> None:
    """256 pictures of 192 KiB are 50 MB, and 200 MB as float32."""
    large = write_generator(tmp_path / "large.gan", 0, channels=3, doublings=6)
    program = (
        "from pathlib import Path\n"
        "from gan_export.cli.sample import main\n"
        "try: main()\n"
        "finally: print(Path('/proc/self/status').read_text())"
    )
    words = [large, "-n", 2, "--psi", 0.5, "--format", "npy", "-o", tmp_path / "d"]
    run = subprocess.run([sys.executable, "-c", program, *map(str, words)], check=True, capture_output=True, text=True)
    peak = next(line for line in run.stdout.splitlines() if line.startswith("VmHWM"))
    assert int(peak.split()[1]) < 250_000, peak
