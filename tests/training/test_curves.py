"""train/experiments/curves.py: what it prints and draws is what the logs say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.training.common import ROOT, environment


def _curves(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "train" / "experiments" / "curves.py"), *map(str, words)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)


def _run(folder: Path, name: str, points: list[tuple[float, float]]) -> Path:
    folder.mkdir()
    (folder / "recipe.json").write_text(json.dumps({"name": name}))
    lines = [{"event": "began"}, *({"event": "scored", "seconds": s, "figures": {"frechet": d}} for s, d in points)]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_it_compares_at_equal_times(tmp_path: Path) -> None:
    slow = _run(tmp_path / "slow", "slow", [(60, 900.0), (120, 300.0), (180, 90.0)])
    fast = _run(tmp_path / "fast", "fast", [(30, 120.0), (40, 88.5), (170, 10.0), (400, 5.0)])
    done = _curves(slow, fast, "-o", tmp_path / "plot.svg")
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    assert rows[0] == ["", "after 3.0 minutes", "to 90.0, where slow ended"]
    assert rows[2:] == [["slow", "90.0", "180 s"], ["fast", "10.0", "40 s"]]
    drawn = ET.parse(tmp_path / "plot.svg").getroot()
    texts = {e.text for e in drawn.iter() if e.tag.endswith("text")}
    assert {"slow", "fast", "minutes of training", "Frechet distance"} <= texts
    again = _curves(slow, fast, "-o", tmp_path / "again.svg")
    assert again.returncode == 0
    assert (tmp_path / "again.svg").read_bytes() == (tmp_path / "plot.svg").read_bytes()


def test_variants_of_a_recipe_go_by_their_folders(tmp_path: Path) -> None:
    runs = [_run(tmp_path / name, "same", [(60, 900.0)]) for name in ("one", "two")]
    done = _curves(*runs, "-o", tmp_path / "plot.svg")
    assert "| one |" in done.stdout
    assert "| two |" in done.stdout


def test_what_measured_nothing_is_refused(tmp_path: Path) -> None:
    empty = _run(tmp_path / "empty", "empty", [])
    for folder, message in ((empty, "has no measurements"), (tmp_path / "none", "is not the folder of a run")):
        done = _curves(folder, "-o", tmp_path / "plot.svg")
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "plot.svg").exists()
    done = _curves(_run(tmp_path / "run", "run", [(60, 900.0)]), "-o", tmp_path / "nowhere" / "plot.svg")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
