"""train/experiments/record.py: what it keeps of a run, and under which name."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.training.color_font import HEIGHT, WIDTH, font
from tests.training.common import ROOT, environment, gan_train


def _record(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "train" / "experiments" / "record.py"), *map(str, words)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)


@pytest.mark.long
def test_a_run_is_kept_with_what_its_newest_generator_draws(tmp_path: Path) -> None:
    run, records = tmp_path / "run", tmp_path / "records"
    settings = (
        "generator.widths=[8,8,8]", "discriminator.widths=[8,8,8]", "train.epochs=1", "train.batch=500",
        "output.snapshot_every=10", "output.metrics_every=0",
    )  # fmt: skip
    command = [sys.executable, "-m", "gan_export.cli.train", "mnist32-demo", "-o", str(run), "--device", "cpu"]
    command += [word for setting in settings for word in ("--set", setting)]
    subprocess.run(command, env=environment(), check=True, capture_output=True)
    done = _record(run, "--folder", records, "--name", "tiny")
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (records / "tiny").iterdir()} == {"grid.png", "log.jsonl", "recipe.json", "record.json"}
    assert (records / "tiny" / "log.jsonl").read_bytes() == (run / "log.jsonl").read_bytes()
    record = json.loads((records / "tiny" / "record.json").read_text())
    assert record == json.loads(done.stdout)
    assert (record["recipe"], record["epochs"], record["steps"]) == ("mnist32-demo", 1, 20)
    assert record["generator_sha256"] == hashlib.sha256((run / "generator_1.pth").read_bytes()).hexdigest()
    assert record["judge"]["frechet"] > record["judge"]["frechet_floor"] > 0


@pytest.mark.long
def test_a_run_of_other_images_is_compared_by_features(tmp_path: Path) -> None:
    run, records, kept = tmp_path / "run", tmp_path / "records", ROOT / "train" / "records" / "emoji64"
    (tmp_path / "some.ttf").write_bytes(font({"😀": Image.new("RGBA", (WIDTH, HEIGHT), "red")}))
    settings = (
        "generator.widths=[4,4,4,4]", "discriminator.widths=[4,4,4,4]", "train.epochs=1", "train.batch=2",
        "ema.recalibrate=256", f"data.path={tmp_path / 'some.ttf'}",
    )  # fmt: skip
    words = [word for setting in settings for word in ("--set", setting)]
    trained = gan_train("emoji64", "-o", run, "--device", "cpu", *words)
    assert trained.returncode == 0, trained.stderr
    features = ("--features", kept / "features.onnx", "--reference", kept / "reference.npz")
    done = _record(run, "--folder", records, *features)
    assert done.returncode == 0, done.stderr
    compared = json.loads((records / "emoji64" / "record.json").read_text())["compared"]
    assert (compared["images"], compared["reference_images"]) == (10_000, 1030)
    assert compared["frechet"] > json.loads((kept / "record.json").read_text())["compared"]["frechet"]
    assert _record(run, *features[:2]).returncode == 2


@pytest.mark.long
def test_what_is_no_run_or_has_drawn_nothing_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "nowhere", tmp_path / "empty"):
        done = _record(folder, "--folder", tmp_path / "records")
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert str(folder) in done.stderr
    assert not (tmp_path / "records").exists()
