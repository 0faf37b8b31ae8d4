"""Commands end with the next sensible command, with its paths quoted; JSON ends with nothing of the kind."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from tests.conftest import Artifacts, Command


def test_commands_end_with_the_next_one(
    command: Command, classic_pth: Path, artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(artifacts["native"], "g 1.gan")
    shutil.copy(classic_pth, "g.pth")
    made = [
        ("gan-export inspect g.pth", "gan-export onnx g.pth"),
        ("gan-export inspect 'g 1.gan'", "gan-export verify 'g 1.gan'"),
        ("gan-export verify 'g 1.gan'", "gan-sample 'g 1.gan' -n 64 --seed 7 -o grid.png"),
        ("gan-sample g.pth -n 2", "gan-export onnx g.pth"),
        ("gan-sample 'g 1.gan' -n 2 --seed 5", "gan-sample interpolate 'g 1.gan' --seed 5 -o walk.gif"),
        ("gan-sample interpolate 'g 1.gan' --keypoints 2", "gan-export web 'g 1.gan' -o site"),
        ("gan-sample dataset 'g 1.gan' -n 20 --format npy -o d", "gan-sample check d --generator 'g 1.gan'"),
        ("gan-sample check d", "gan-sample check d --generator 'g 1.gan'"),
        ("gan-sample check d --generator 'g 1.gan'", "gan-export verify 'g 1.gan'"),
        (
            "gan-sample dataset 'g 1.gan' -n 20 --format npy --shard-size 10 --part 1/2 -o e",
            "gan-sample dataset 'g 1.gan' -n 20 --format npy --shard-size 10 --part 2/2 -o e",
        ),
        ("gan-train list", "gan-train mnist32-demo"),
        ("gan-export list", "gan-export onnx CHECKPOINT"),
    ]
    for words, following in made:
        result = command(*shlex.split(words))
        assert result.code == 0, result
        assert result.out.splitlines()[-1] == f"  {following}", result
    assert json.loads(command("gan-export", "inspect", "g 1.gan", "--json").out)["format"] == "native"
    usable = command("gan-bench", "list").out.splitlines()[-1]
    assert usable.startswith("  gan-bench CHECKPOINT --runtimes ")
    assert "native" in usable
