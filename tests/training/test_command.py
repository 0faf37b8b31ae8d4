"""gan-train as a user meets it: the real command in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_export.training.events import Began, Ended, Scored
from tests.training.common import (
    PROGRAM,
    ROOT,
    TINY,
    environment,
    gan_train,
    refused,
    resume_here,
    same,
    tiny_recipe,
    train_here,
    warnings,
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A run of 2 epochs of 7 steps that was never interrupted."""
    folder = tmp_path_factory.mktemp("finished")
    result = gan_train(tiny_recipe(folder, pictures), "-o", "run", "--seed", 5, cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "run"


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


MODERN = (
    "ema.decay=0.9", "ema.recalibrate=64", "loss.kind=hinge", "loss.one_call=true", "optimiser.decay_from=0.3",
    "discriminator.spectral=true", "discriminator.norm=none",
)  # fmt: skip


@pytest.mark.parametrize("at", [2, 9], ids=["before the first snapshot", "after one"])
def test_killed_and_resumed_equals_never_interrupted_bit_for_bit(
    finished: Path, tmp_path: Path, pictures: Path, at: int
) -> None:
    killed = tmp_path / "killed"
    _kill_at(at, tiny_recipe(tmp_path, pictures), killed, ["--seed", "5"])
    if at == 9:  # once through the real command; elsewhere in this process
        assert not (killed / "generator_2.pth").exists()
        result = gan_train("resume", killed)
        assert result.returncode == 0, result.stderr
        assert "from step 7" in result.stdout
        _equal(finished, killed)
    else:
        _resumes_to(finished, killed)


def test_so_does_every_field_that_keeps_state(tmp_path: Path, pictures: Path) -> None:
    recipe = tiny_recipe(tmp_path, pictures)
    chosen = [word for s in MODERN for word in ("--set", s)]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train_here(recipe, whole, *MODERN)
    _kill_at(11, recipe, killed, chosen)
    _resumes_to(whole, killed)


def _resumes_to(whole: Path, killed: Path) -> None:
    """`killed`, once resumed, is `whole` in every bit of its weights and of its last snapshot."""
    assert not (killed / "generator_2.pth").exists()
    resume_here(killed)
    _equal(whole, killed)


def _equal(whole: Path, killed: Path) -> None:
    for name in ("generator_1.pth", "generator_2.pth", "discriminator_2.pth"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()
    ends = [torch.load(run / "snapshots" / "00000014.pt", weights_only=True) for run in (whole, killed)]
    for end in ends:
        del end["seconds"], end["log_bytes"]  # the clock's, and the lengths of its digits in the log
    same(*ends)
    lines = [json.loads(line) for line in (killed / "log.jsonl").read_text().splitlines()]
    measured = [line["step"] for line in lines if line["event"] == "measured"]
    assert measured == [5, 7, 12, 14]  # each once, although some steps were taken twice


def _kill_at(step: int, recipe: Path, run: Path, settings: list[str]) -> None:
    """Starts the run in a process that kills itself with SIGKILL right after `step`, in the middle of the loop."""
    program = (
        "import os, signal, sys\n"
        "from gan_export.cli import train\n"
        "from gan_export.training import events\n"
        "show = train._Display.__call__\n"
        "def watch(self, event):\n"
        f"    if isinstance(event, events.Stepped) and event.step == {step}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    show(self, event)\n"
        "train._Display.__call__ = watch\n"
        "train.main()\n"
    )
    command = [sys.executable, "-c", program, str(recipe), "-o", str(run), *settings]
    result = subprocess.run(command, env=environment(), capture_output=True, timeout=120, check=False)
    assert result.returncode == -signal.SIGKILL, result.stderr


def test_ctrl_c_keeps_everything_and_says_how_to_go_on(tmp_path: Path, pictures: Path) -> None:
    recipe = tiny_recipe(tmp_path, pictures)
    run = tmp_path / "run"
    process = subprocess.Popen(
        [*PROGRAM, str(recipe), "-o", str(run), "--set", "train.epochs=2000", "--set", "output.preview_every=2000",
         "--set", "output.save_every=2000"],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 60
    while time.monotonic() < until and not list(run.glob("snapshots/*.pt")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert f"gan-train resume {run}" in told
    assert "Traceback" not in told
    newest = sorted(run.glob("snapshots/*.pt"))[-1]
    kept = torch.load(newest, weights_only=True)["step"]
    assert f"stopped at step {kept}" in told
    assert not [p for p in run.rglob(".*") if p.is_file()]  # nothing half-written stays behind
    began = resume_here(run, f"train.epochs={kept // 7 + 2}")[0]
    assert isinstance(began, Began)
    assert began.step == kept


def test_a_finished_run_can_go_on_longer_and_equals_a_long_one(finished: Path, tmp_path: Path, pictures: Path) -> None:
    longer, again = tmp_path / "longer", tmp_path / "again"
    train_here(tiny_recipe(tmp_path, pictures), longer, "train.epochs=3", "train.seed=5")
    shutil.copytree(finished, again)
    resume_here(again, "train.epochs=3")
    assert (again / "generator_3.pth").read_bytes() == (longer / "generator_3.pth").read_bytes()


def test_another_thread_count_is_warned_of(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    newest = run / "snapshots" / "00000014.pt"
    snapshot = torch.load(newest, weights_only=True)
    snapshot["machine"]["threads"] = 64
    snapshot["machine"]["isa"] = "AVX1024"
    torch.save(snapshot, newest)
    said = " ".join(warnings(resume_here(run, "train.epochs=3")))
    assert "threads: 64 then, 1 now" in said
    assert "isa: AVX1024 then" in said


def test_resumed_on_another_kind_of_device_it_goes_on(finished: Path, tmp_path: Path) -> None:
    """A snapshot as a GPU leaves it: its generator of random numbers says nothing to a CPU's."""
    ends = []
    for name in ("run", "again"):
        run = tmp_path / name
        shutil.copytree(finished, run)
        newest = sorted((run / "snapshots").iterdir())[-1]
        snapshot = torch.load(newest, weights_only=True)
        snapshot["machine"]["device"] = "cuda"
        snapshot["noise"] = torch.zeros(16, dtype=torch.uint8)
        torch.save(snapshot, newest)
        assert "device: cuda then, cpu now" in " ".join(warnings(resume_here(run, "train.epochs=3")))
        ends.append((run / "generator_3.pth").read_bytes())
    assert ends[0] == ends[1]


def test_pictures_that_moved_are_found_where_they_are_now(finished: Path, tmp_path: Path, pictures: Path) -> None:
    run, moved = tmp_path / "run", tmp_path / "moved"
    shutil.copytree(finished, run)
    shutil.copytree(pictures, moved)
    file = run / "recipe.json"
    recipe = json.loads(file.read_text())
    recipe["data"]["path"] = "where they lay before"
    file.write_text(json.dumps(recipe))
    refused(gan_train("resume", run, "--set", "train.epochs=3"), "where they lay before is no folder")
    resume_here(run, "train.epochs=3", f"data.path={moved.as_posix()}")
    assert (run / "generator_3.pth").is_file()


def test_a_run_that_is_over_is_not_trained_on(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    before = (run / "recipe.json").read_bytes()
    refused(gan_train("resume", run, "--set", "train.epochs=1"), "step 14 already, in epoch 2", "2 or more")
    assert (run / "recipe.json").read_bytes() == before
    ended = resume_here(run, "train.epochs=3", "train.minutes=1e-9")[-1]
    assert isinstance(ended, Ended)
    assert ended.step == 14


def test_two_at_one_run_are_kept_apart(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    holds = (
        "import sys, time\nfrom pathlib import Path\nfrom gan_export.training import folder\n"
        f"with folder.held(Path({str(run)!r})):\n    print('held', flush=True)\n    time.sleep(300)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", holds], env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        refused(gan_train("resume", run, "--set", "train.epochs=3"), "another gan-train is at work there")
    finally:
        other.kill()
        other.wait()
    resume_here(run, "train.epochs=3")
    assert (run / "generator_3.pth").is_file()
    assert not (run / ".lock").exists()


def test_resuming_with_other_data_is_refused(finished: Path, tmp_path: Path, pictures: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    shutil.copytree(finished, run)
    shutil.copytree(pictures, other)
    (other / "000.png").write_bytes((other / "001.png").read_bytes())
    file = run / "recipe.json"
    recipe = json.loads(file.read_text())
    recipe["data"]["path"] = str(other)
    file.write_text(json.dumps(recipe))
    refused(gan_train("resume", run, "--set", "train.epochs=3"), "not what the run was trained on")


def test_divergence_is_said_with_its_step(tmp_path: Path, pictures: Path) -> None:
    """A NaN put into the ninth batch: what is said is that step, and where the last good state lies."""
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


def test_a_discriminator_that_has_won_is_said(tmp_path: Path, pictures: Path) -> None:
    """Bright squares against a generator that can't learn: the discriminator is certain in a few epochs."""
    told = train_here(
        tiny_recipe(tmp_path, pictures), tmp_path / "run", "optimiser.generator.lr=1e-12",
        "optimiser.discriminator.lr=3e-3", "train.epochs=40", "output.preview_every=100", "output.save_every=100",
    )  # fmt: skip
    said = [w for w in warnings(told) if "tells every picture apart" in w]
    assert 1 <= len(said) <= 5  # when it begins, not at every window


def test_corrupt_pictures_are_named_or_refused(tmp_path: Path, pictures: Path) -> None:
    some = tmp_path / "some"
    shutil.copytree(pictures, some)
    (some / "broken.png").write_bytes(b"no picture")
    recipe = tiny_recipe(tmp_path, some)
    result = gan_train(recipe, "-o", tmp_path / "run", "--set", "train.epochs=1")
    assert result.returncode == 0, result.stderr
    assert "1 pictures can't be read" in result.stderr
    assert "broken.png" in result.stderr
    refused(gan_train(recipe, "-o", tmp_path / "strict", "--strict"), "1 of 101", "broken.png")
    assert not (tmp_path / "strict").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["no-such-recipe"], ["no recipe is called no-such-recipe", "gan-train list"]),
        (["mnist32-classik"], ["did you mean mnist32-classic?"]),
        (["missing.toml"], ["missing.toml", "No such file"]),
        (["mnist32-demo", "--set", "train.epoch=3"], ["did you mean train.epochs?"]),
        (["mnist32-demo", "--set", "train.batch=0"], ["train.batch is 0"]),
        (["mnist32-demo", "--set", "train.epochs=-1"], ["train.epochs is -1"]),
        (["mnist32-demo", "--seed", "-1"], ["train.seed is -1"]),
        (["mnist32-demo", "--device", "tpu"], ["device tpu is unknown"]),
        (["mnist32-demo", "--set", "compute.autocast=fp16"], ["compute.autocast", "fp16"]),
        (["mnist32-demo", "--set", "data.source=folder", "--set", "data.path=nowhere"], ["nowhere is no folder"]),
        (["mnist32-demo", "-o", "/proc/nowhere/run"], ["/proc/nowhere/run"]),
        (["mnist32-demo", "-o", "taken"], ["taken is there already", "gan-train resume taken"]),
        (["mnist32-demo", "-o", "file"], ["file is there already"]),
        (["resume", "nowhere"], ["nowhere holds no run"]),
        (["resume", "taken"], ["holds no run"]),
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
def test_a_device_that_is_not_there_is_said(tmp_path: Path) -> None:
    refused(gan_train("mnist32-demo", "--device", "cuda", cwd=tmp_path), "no CUDA device is usable")


def test_an_empty_folder_of_pictures(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(
        gan_train("mnist32-demo", "--set", "data.source=folder", "--set", "data.path=empty", cwd=tmp_path),
        "empty holds no pictures",
    )


def test_a_damaged_snapshot_is_said(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    newest = run / "snapshots" / "00000014.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    refused(gan_train("resume", run), "00000014.pt is no snapshot")
    newest.unlink()  # what the message says to do
    resume_here(run)
    assert (run / "generator_2.pth").read_bytes() == (finished / "generator_2.pth").read_bytes()


def test_list_names_every_recipe() -> None:
    result = gan_train("list")
    assert result.returncode == 0
    for file in (ROOT / "train" / "recipes").glob("*.toml"):
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


def test_measuring_the_pictures_is_logged_and_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "digits.toml"
    file.write_text(f'[data]\nsource = "mnist-10k"\n{TINY}', encoding="utf-8")
    settings = ("train.epochs=1", "train.batch=1000", "ema.decay=0.9", "ema.recalibrate=64")
    train_here(file, tmp_path / "plain", *settings)
    told = train_here(file, tmp_path / "scored", *settings, "output.metrics_every=6", "output.metrics_pictures=1000")
    assert [e.step for e in told if isinstance(e, Scored)] == [6, 10]
    lines = [json.loads(line) for line in (tmp_path / "scored" / "log.jsonl").read_text().splitlines()]
    figures = [line["figures"] for line in lines if line["event"] == "scored"]
    assert all(f["frechet"] > f["frechet_floor"] > 0 and f["pictures"] == 1000 for f in figures)
    for name in ("generator_1.pth", "discriminator_1.pth"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "scored" / name).read_bytes()
