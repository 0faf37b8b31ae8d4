"""gan-train as a user meets it: the real command in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_export.errors import GanExportError
from gan_export.training.events import Scored
from tests.metrics.test_features import write_network
from tests.training.common import (
    PROGRAM,
    ROOT,
    TINY,
    environment,
    gan_train,
    refused,
    tiny_recipe,
    train_here,
    warnings,
)  # fmt: skip


def test_a_run_leaves_what_it_says(finished: Path) -> None:
    names = {str(p.relative_to(finished)) for p in finished.rglob("*") if p.is_file()}
    sheets = {f"previews/{e:04d}_{s}.png" for e in (1, 2) for s in ("2x5", "beside-real", "grid")}
    nets = {f"{n}_{e}.pth" for e in (1, 2) for n in ("generator", "discriminator")}
    assert names == {"recipe.json", "log.jsonl", *sheets, *nets, "snapshots/00000007.pt", "snapshots/00000014.pt"}
    with Image.open(finished / "previews" / "0002_grid.png") as grid:
        assert grid.size == (8 * 34 + 2, 8 * 34 + 2)
    with Image.open(finished / "previews" / "0002_2x5.png") as sheet:
        assert sheet.size == (5 * 34 + 2, 2 * 34 + 2)
    with Image.open(finished / "previews" / "0002_beside-real.png") as sheet:
        right = np.asarray(sheet)[:, 4 * 34 + 2 :]
        assert set(np.unique(right)) <= {0, 255}  # the real pictures are black and white


def test_checkpoints_are_bare_state_dicts_of_float_weights(finished: Path) -> None:
    weights = torch.load(finished / "generator_2.pth", weights_only=True)
    assert list(weights)[:3] == ["model.0.weight", "model.0.bias", "model.1.weight"]
    assert weights["model.0.weight"].shape == (8, 12, 4, 4)
    assert all(w.is_contiguous() for w in weights.values())


def test_the_log_tells_the_run(finished: Path) -> None:
    lines = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines if line["event"] in ("began", "ended")] == ["began", "ended"]
    assert lines[0]["pictures"] == 100
    measured = [line for line in lines if line["event"] == "measured"]
    assert [m["step"] for m in measured] == [5, 7, 12, 14]
    assert all(m["images_per_second"] > 0 and np.isfinite(m["loss_d"]) for m in measured)


def test_the_same_seed_gives_the_same_weights_and_another_others(
    finished: Path, tmp_path: Path, pictures: Path
) -> None:
    recipe = tiny_recipe(tmp_path, pictures)
    for name, seed in (("same", 5), ("other", 6)):
        train_here(recipe, tmp_path / name, f"train.seed={seed}")
    for net in ("generator_2.pth", "discriminator_2.pth"):
        assert (tmp_path / "same" / net).read_bytes() == (finished / net).read_bytes()
        assert (tmp_path / "other" / net).read_bytes() != (finished / net).read_bytes()


@pytest.mark.long
def test_divergence_is_said_with_its_step(tmp_path: Path, pictures: Path) -> None:
    """A NaN put into the ninth batch: the message names that step, and where the last good state lies."""
    poison = (
        "import torch\n"
        "from gan_export.training import step as module\n"
        "from gan_export.cli import train\n"
        "plain = module.step\n"
        "def step(now, real, *more):\n"
        "    return plain(now, real * float('nan') if now.step == 8 else real, *more)\n"
        "module.step = step\n"
        "train.main()\n"
    )
    recipe = tiny_recipe(tmp_path, pictures)
    result = subprocess.run(
        [sys.executable, "-c", poison, str(recipe), "-o", str(tmp_path / "run")],
        env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert "training diverged: loss_d is nan at step 9" in result.stderr
    assert "00000007.pt" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.long
def test_a_discriminator_that_has_won_is_said(tmp_path: Path, pictures: Path) -> None:
    """Bright squares against a generator that can't learn: the discriminator is certain in a few epochs."""
    observed = train_here(
        tiny_recipe(tmp_path, pictures), tmp_path / "run", "optimizer.generator.lr=1e-12",
        "optimizer.discriminator.lr=3e-3", "train.epochs=40", "output.preview_every=100", "output.save_every=100",
    )  # fmt: skip
    found = [w for w in warnings(observed) if "separates real and generated images perfectly" in w]
    assert 1 <= len(found) <= 5  # when it begins, not at every window


@pytest.mark.long
def test_corrupt_pictures_are_named_or_refused(tmp_path: Path, pictures: Path) -> None:
    some = tmp_path / "some"
    shutil.copytree(pictures, some)
    (some / "broken.png").write_bytes(b"no picture")
    recipe = tiny_recipe(tmp_path, some)
    result = gan_train(recipe, "-o", tmp_path / "run", "--set", "train.epochs=1")
    assert result.returncode == 0, result.stderr
    assert "1 images can't be read" in result.stderr
    assert "broken.png" in result.stderr
    refused(gan_train(recipe, "-o", tmp_path / "strict", "--fail-on-unreadable"), "1 of 101", "broken.png")
    assert not (tmp_path / "strict").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["no-such-recipe"], ["there is no recipe no-such-recipe", "gan-train list"]),
        (["mnist32-classik"], ["did you mean mnist32-classic?"]),
        (["missing.toml"], ["missing.toml", "No such file"]),
        (["mnist32-demo", "--set", "train.epoch=3"], ["did you mean train.epochs?"]),
        (["mnist32-demo", "--set", "train.batch=0"], ["train.batch is 0"]),
        (["mnist32-demo", "--set", "train.epochs=-1"], ["train.epochs is -1"]),
        (["mnist32-demo", "--seed", "-1"], ["train.seed is -1"]),
        (["mnist32-demo", "--device", "tpu"], ["device tpu is unknown"]),
        (["mnist32-demo", "--set", "compute.autocast=fp16"], ["compute.autocast", "fp16"]),
        (["mnist32-demo", "--set", "data.source=folder", "--set", "data.path=nowhere"], ["nowhere is not a folder"]),
        (["mnist32-demo", "-o", "/proc/nowhere/run"], ["/proc/nowhere/run"]),
        (["mnist32-demo", "-o", "taken"], ["taken already exists", "gan-train resume taken"]),
        (["mnist32-demo", "-o", "file"], ["is a file"]),
        (["resume", "nowhere"], ["nowhere contains no run"]),
        (["resume", "taken"], ["contains no run"]),
        (["mnist32-demo", "--set", "data.source=mnist", "--data-root", "no-data"], ["no-data", "--data-root"]),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path: Path, args: list[str], words: list[str]) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "no-data").mkdir()
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
    refused(gan_train(*args, cwd=tmp_path), *words)
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
@pytest.mark.long
def test_a_device_that_is_not_there_is_said(tmp_path: Path) -> None:
    refused(gan_train("mnist32-demo", "--device", "cuda", cwd=tmp_path), "no CUDA device is usable")


@pytest.mark.long
def test_an_empty_folder_of_pictures(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(
        gan_train("mnist32-demo", "--set", "data.source=folder", "--set", "data.path=empty", cwd=tmp_path),
        "empty contains no images",
    )


def test_list_names_every_recipe() -> None:
    result = gan_train("list")
    assert result.returncode == 0
    for file in (ROOT / "gan_export" / "training" / "recipes").glob("*.toml"):
        assert file.stem in result.stdout


def test_help_is_quick_to_import_and_loads_no_torch() -> None:
    program = (
        "import sys\n"
        "from gan_export.cli.train import main\n"
        "try: main()\n"
        "finally: print([m for m in ('torch', 'torchvision', 'numpy', 'onnxruntime', 'rich') if m in sys.modules])\n"
    )
    for args in (["--help"], ["resume", "--help"], ["list"]):
        result = subprocess.run(
            [sys.executable, "-c", program, *args],
            env=environment(), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert result.stdout.strip().endswith("[]"), (args, result.stdout)


def test_tensorboard_gets_scalars_and_pictures(tmp_path: Path, pictures: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    assert gan_train(tiny_recipe(tmp_path, pictures), "-o", run, "--tensorboard").returncode == 0
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("loss_d")] == [5, 7, 12, 14]
    assert {"grid", "2x5", "beside-real"} <= set(events.Tags()["images"])


@pytest.mark.long
def test_a_tensorboard_that_is_not_installed_is_said_by_name(tmp_path: Path, pictures: Path) -> None:
    blocked = tmp_path / "blocked"
    (blocked / "tensorboard").mkdir(parents=True)
    (blocked / "tensorboard" / "__init__.py").write_text("raise ImportError('none here')\n")
    env = environment()
    env["PYTHONPATH"] = os.pathsep.join((str(blocked), env["PYTHONPATH"]))
    result = subprocess.run(
        [*PROGRAM, str(tiny_recipe(tmp_path, pictures)), "-o", str(tmp_path / "run"), "--tensorboard"],
        env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    refused(result, "pip install tensorboard")
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_measuring_the_pictures_is_logged_and_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "digits.toml"
    file.write_text(f'[data]\nsource = "mnist-10k"\n{TINY}', encoding="utf-8")
    settings = ("train.epochs=1", "train.batch=1000", "ema.decay=0.9", "ema.recalibrate=64")
    train_here(file, tmp_path / "plain", *settings)
    observed = train_here(
        file, tmp_path / "scored", *settings, "output.metrics_every=6", "output.metrics_pictures=1000"
    )
    assert [e.step for e in observed if isinstance(e, Scored)] == [6, 10]
    lines = [json.loads(line) for line in (tmp_path / "scored" / "log.jsonl").read_text().splitlines()]
    figures = [line["figures"] for line in lines if line["event"] == "scored"]
    assert all(f["frechet"] > f["frechet_floor"] > 0 and f["pictures"] == 1000 for f in figures)
    for name in ("generator_1.pth", "discriminator_1.pth"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "scored" / name).read_bytes()


@pytest.mark.long
def test_any_network_measures_against_the_training_images(tmp_path: Path) -> None:
    network = write_network(tmp_path / "net.onnx", np.random.default_rng(1).normal(size=(1024, 8)).astype(np.float32))
    file = tmp_path / "digits.toml"
    file.write_text(f'[data]\nsource = "mnist-10k"\n{TINY}', encoding="utf-8")
    settings = ("train.epochs=1", "train.batch=1000", "output.metrics_every=10", "output.metrics_pictures=1000")
    observed = train_here(file, tmp_path / "run", *settings, f"output.metrics_features={network}")
    (scored,) = (e for e in observed if isinstance(e, Scored))
    assert scored.figures["reference_images"] == 10_000
    assert scored.figures["frechet"] > 0
    assert set(scored.figures) >= {"kernel", "precision", "recall", "density", "coverage"}
    with pytest.raises(GanExportError, match="there is no evaluator"):
        train_here(file, tmp_path / "none", *settings, "output.metrics_features=nothing")
    assert not (tmp_path / "none").exists()
