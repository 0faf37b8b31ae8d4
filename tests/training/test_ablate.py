"""train/experiments/ablate.py: its settings are recipes, and its table is made from logs alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gan_export.training import recipe
from tests.training.common import ROOT, environment
from tests.training.test_step import _script

ablate = _script("experiments/ablate")


def test_every_setting_is_a_recipe_with_one_thing_changed() -> None:
    names = [s.name for s in ablate.SETTINGS]
    assert len(names) >= 8
    assert len(set(names)) == len(names)
    for setting in ablate.SETTINGS:
        changed = recipe.load(setting.recipe, setting.changes)
        assert (changed != recipe.load(ablate.BASE)) == (setting.name != "base")


def _ended(folder: Path, frechet: float, whole: bool = True, minutes: float = 5.0) -> None:
    """The log of a run."""
    figures = {"pictures": 2500, "frechet_floor": 1.25, "sure_share": 0.9, "coverage": 0.8, "frechet": frechet}
    nets = {"generator": {"widths": [8, 4]}, "discriminator": {"widths": [4, 8]}}
    settings = {"data": {"source": "mnist-10k"}, "train": {"epochs": 2, "minutes": minutes}, **nets}
    lines = [{"event": "began", "recipe": settings}, {"event": "scored", "figures": figures}]
    if whole:
        lines.append({"event": "ended", "step": 1234, "seconds": 300.0, "interrupted": False})
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_table_is_what_the_logs_say(tmp_path: Path) -> None:
    for name, frechet, whole in (("base-0", 10.0, True), ("base-1", 12.0, True), ("no-ema-0", 5.0, True),
                                 ("flip-0", 1.0, False)):  # fmt: skip
        _ended(tmp_path / "timed" / name, frechet, whole)
    table = ablate.table([tmp_path / "timed"])
    rows = [line for line in table.splitlines() if line.startswith("| ") and "setting" not in line]
    assert [row.split("|")[1].strip() for row in rows] == ["no-ema", "base"]
    assert "| 1,234, 1,234 | 10.0, 12.0 | 90.0%, 90.0% | 0.800, 0.800 |" in rows[1]
    assert "trains for 5.0 minutes" in table
    assert "flip" in table.split("Not run: ")[1]

    for setting in ablate.SETTINGS:
        _ended(tmp_path / "complete" / f"{setting.name}-0", 3.0, minutes=0.0)
    both = ablate.table([tmp_path / "timed", tmp_path / "complete"])
    assert rows[1] in both
    assert "complete run of 2 epochs on `mnist-10k` with `generator.widths=[8, 4]`" in both
    assert "Not run" not in both


@pytest.mark.long
def test_it_trains_and_passes_over_what_has_ended(tmp_path: Path) -> None:
    words = [
        sys.executable, str(ROOT / "train" / "experiments" / "ablate.py"), "run", "-o", str(tmp_path), "--minutes",
        "0.01",
        "--seeds", "0", "--only", "base,mixed", "--set", "data.source=mnist-10k", "--set", "ema.recalibrate=256",
        "--set", "compute.threads=1",
    ]  # fmt: skip
    for started in (["base, seed 0", "mixed, seed 0"], [], ["mixed, seed 0"]):
        if len(started) == 1:  # as a kill before its last line leaves a run
            log = tmp_path / "mixed-0" / "log.jsonl"
            log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
        result = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=300, check=False)
        assert result.returncode == 0, result.stderr
        assert result.stdout.splitlines() == started
    assert ablate.table([tmp_path]).count("\n| ") == 3
