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


def test_the_table_is_what_the_logs_say(tmp_path: Path) -> None:
    figures = {"pictures": 2500, "frechet_floor": 1.25, "sure_share": 0.9, "coverage": 0.8}
    for name, frechet, whole in (("base-0", 10.0, True), ("base-1", 12.0, True), ("no-ema-0", 5.0, True),
                                 ("flip-0", 1.0, False)):  # fmt: skip
        (tmp_path / name).mkdir()
        lines = [{"event": "scored", "figures": {**figures, "frechet": frechet}}]
        if whole:
            lines.append({"event": "ended", "step": 1234, "seconds": 300.0, "interrupted": False})
        (tmp_path / name / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    table = ablate.table(tmp_path)
    rows = [line for line in table.splitlines() if line.startswith("| ") and "setting" not in line]
    assert [row.split("|")[1].strip() for row in rows] == ["no-ema", "base"]
    assert "| 1,234, 1,234 | 10.0, 12.0 | 90.0%, 90.0% | 0.800, 0.800 |" in rows[1]
    assert "trains for 5.0 minutes" in table
    assert "flip" in table.split("Not run: ")[1]


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
    assert ablate.table(tmp_path).count("\n| ") == 3
