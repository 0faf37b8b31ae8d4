"""Settings that keys and shapes leave open are settled by the statistics of training, or stated as unsettled."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gan_export
from gan_export import checkpoint, latents
from gan_export.formats import manifest
from gan_export.graph.torch_module import build_module
from gan_export.training import recipe
from tests.conftest import Command, refused
from tests.recognize.trained import NZ, Ladder, Mlp, Projected, Unlabeled, trained


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[nn.Module, Path]]:
    """Train a generator and save its state dict."""

    def save(build: Callable[[], nn.Module], uniform: bool = False, steps: int = 80) -> tuple[nn.Module, Path]:
        model = trained(build, steps, uniform)
        path = tmp_path_factory.mktemp("trained") / "g.pth"
        torch.save(model.state_dict(), path)
        return model, path

    return save


Saved = Callable[..., tuple[nn.Module, Path]]


def off(model: nn.Module, read: checkpoint.Checkpoint) -> float:
    """The largest difference of a value, of images from -1 to 1."""
    z = torch.from_numpy(latents.draw(0, 0, 16, NZ))
    with torch.no_grad():
        return float((build_module(read.spec, read.weights)(z) - model(z)).abs().max())


def flags(read: checkpoint.Checkpoint) -> set[str]:
    return {a.option for a in read.reading.unsettled}


LEVEL = 2 / 255


@pytest.mark.parametrize("eps", [1e-5, 0.8])
def test_the_eps_of_an_mlp_is_read_right_without_a_flag(saved: Saved, eps: float) -> None:
    model, path = saved(lambda: Mlp(eps, 0.2))
    read = gan_export.load(path)
    assert "bn_eps=" not in flags(read)
    finding = next(f for f in read.reading.found if f.option == "bn_eps=")
    assert finding.value == str(eps)
    assert read.reading.grades()["bn_eps"] == "evidence"
    assert off(model, read) <= LEVEL or "slope=" in flags(read)
    right = gan_export.load(path, slope=0.2)
    assert off(model, right) <= LEVEL


def test_a_slope_that_no_statistics_settle_is_stated(saved: Saved) -> None:
    model, path = saved(lambda: Mlp(1e-5, 0.01))
    read = gan_export.load(path)
    assert off(model, read) <= LEVEL or "slope=" in flags(read)
    model, path = saved(lambda: Ladder(0.2))
    read = gan_export.load(path)
    assert off(model, read) <= LEVEL or "slope=" in flags(read)


@pytest.mark.parametrize("activation", [False, True])
def test_an_activation_behind_the_first_linear_is_found(saved: Saved, activation: bool) -> None:
    model, path = saved(lambda: Projected(activation), uniform=True)
    read = gan_export.load(path)
    assert read.signature.inputs[0].prior == gan_export.load(path, prior="uniform").signature.inputs[0].prior
    assert read.overrides.first_activation == ("on" if activation else None)
    assert off(model, checkpoint.read(path, replace(read.overrides, slope=0.0))) <= LEVEL
    assert "bn_eps=" in flags(read)  # the only BatchNorm: no statistics lie behind it


def test_an_embedding_that_nothing_reads_is_left_out_or_stated(saved: Saved) -> None:
    model, path = saved(Unlabeled)
    read = gan_export.load(path)
    assert read.overrides.classes == 0 or "classes=0" in flags(read)
    without = gan_export.load(path, classes=0, slope=0.2)
    assert not without.signature.inputs_of("label")
    assert "label_emb.weight" in without.source.ignored
    assert off(model, without) <= LEVEL


def test_a_generator_without_statistics_says_what_is_assumed(saved: Saved, tmp_path: Path) -> None:
    _, path = saved(lambda: Mlp(0.8, 0.2, (False, False, False)), steps=2)
    read = gan_export.load(path)
    assert "no BatchNorm" in read.reading.unchecked
    assert flags(read) == {"slope=", "output=", "prior="}
    fresh = tmp_path / "fresh.pth"
    torch.save(Mlp(0.8, 0.2).state_dict(), fresh)
    read = gan_export.load(fresh)
    assert "still the initial ones" in read.reading.unchecked
    assert flags(read) == {"slope=", "output=", "prior=", "bn_eps="}


def test_what_is_unsettled_is_the_last_line_and_refused_by_strict(
    saved: Saved, command: Command, tmp_path: Path
) -> None:
    _, path = saved(lambda: Mlp(1e-5, 0.2, end=nn.Sigmoid()))
    shown = command("gan-export", "inspect", path, "-o", tmp_path / "readings.png")
    assert shown.code == 0
    assert shown.err.splitlines()[-1].startswith("UNSETTLED")
    assert "the last activation (tanh, instead of a sigmoid or none: --output)" in shown.err.splitlines()[-1]
    assert (tmp_path / "readings.png").read_bytes().startswith(b"\x89PNG")
    assert ".png" in refused(command("gan-export", "inspect", path, "-o", tmp_path / "readings.txt"))
    assert "--output" in refused(command("gan-export", "inspect", path, "--strict"))
    settled = ("--output", "sigmoid", "--slope", "0.2,0.2,0.2", "--bn-eps", "1e-5,1e-5", "--prior", "normal")
    assert command("gan-export", "inspect", path, "--strict", *settled).code == 0
    assert "2 values" in refused(command("gan-export", "inspect", path, "--slope", "0.2,0.2"))
    made = command("gan-export", "onnx", path, "-o", tmp_path / "g.onnx")
    assert made.code == 0
    assert made.err.splitlines()[-1].startswith("UNSETTLED")
    grades = manifest.read_manifest(tmp_path / "g.onnx", "onnx")
    assert grades is not None
    assert grades.grades["output"] == "assumed"
    drawn = command("gan-sample", path, "-n", 2, "-o", tmp_path / "g.npy")
    assert "UNSETTLED" in drawn.err
    assert np.load(tmp_path / "g.npy").shape == (2, 16, 16, 1)


class View(nn.Module):
    """Features as an image; its code is the file's own, and isn't read."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(-1, 16, 4, 4)


def test_a_pickled_module_says_what_stands_behind_its_first_linear(tmp_path: Path) -> None:
    """As hypergan's DCGAN: a ReLU before the reshape."""
    net = nn.Sequential(
        nn.Linear(NZ, 256), nn.ReLU(), View(), nn.ConvTranspose2d(16, 12, 4, 2, 1), nn.BatchNorm2d(12), nn.ReLU(),
        nn.ConvTranspose2d(12, 1, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    torch.save(net.eval(), tmp_path / "g.pth")
    read = gan_export.load(tmp_path / "g.pth")
    assert off(net, read) < 1e-5
    assert flags(read) == {"prior="}


def test_other_processes_read_as_the_first_one(saved: Saved, command: Command, tmp_path: Path) -> None:
    """Workers of a dataset and of a DataLoader use the reading that the first process settled."""
    _, path = saved(lambda: Projected(True), uniform=True)
    want = gan_export.sample(path, 6, seed=3)
    done = command("gan-sample", "dataset", path, "-n", 6, "--seed", 3, "--format", "npy", "-o", tmp_path / "d")
    assert done.code == 0, done
    (shard,) = (tmp_path / "d").glob("*.npy")
    assert np.array_equal(np.load(shard), want)
    assert json.loads((tmp_path / "d" / "MANIFEST.json").read_text())["job"]["overrides"]["first_activation"] == "on"
    assert command("gan-sample", "check", tmp_path / "d", "-g", path).code == 0
    images = gan_export.dataset(path, seed=3, length=6)
    loaded = torch.stack([images[i] for i in range(6)]).permute(0, 2, 3, 1)
    assert np.array_equal(np.rint(loaded.numpy() * 127.5 + 127.5).astype(np.uint8), want)


def test_a_recipe_of_gan_train_beside_the_file_settles_the_reading(tmp_path: Path) -> None:
    described = recipe.load("mnist32-small").to_json()
    net = Ladder(0.0)
    torch.save(net.state_dict(), tmp_path / "g.pth")
    assert {"slope=", "output="} <= flags(gan_export.load(tmp_path / "g.pth"))
    (tmp_path / "recipe.json").write_text(json.dumps(described))  # of a run with latents of another length
    assert {"slope=", "output="} <= flags(gan_export.load(tmp_path / "g.pth"))
    described["generator"]["nz"] = NZ
    (tmp_path / "recipe.json").write_text(json.dumps(described))
    read = gan_export.load(tmp_path / "g.pth")
    assert not read.reading.unsettled
    assert any("recipe.json" in note for note in read.reading.notes)
    assert off(net.eval(), read) < 1e-5
    assert gan_export.load(tmp_path / "g.pth", slope=0.2).overrides.slope == 0.2


_COST = """
import resource, sys, time, torch
import gan_export.checkpoint as checkpoint
torch.set_num_threads(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begin = time.process_time()
read = checkpoint.read(sys.argv[1])
assert read.reading.found, read.reading  # the statistics are evidence
print(time.process_time() - begin, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_evidence_of_a_small_file_that_makes_large_images_is_bounded(tmp_path: Path) -> None:
    """Images of 512 x 512 from a file of 46 kB, whose statistics fit, so that no candidate ends early."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.ConvTranspose2d(16, 8, 4, 1, 0, bias=False)]
    for out in (*[8] * 6, 3):
        layers += [nn.BatchNorm2d(8, momentum=None), nn.ReLU(), nn.ConvTranspose2d(8, out, 4, 2, 1, bias=False)]
    net = nn.Sequential(*layers, nn.Tanh())
    with torch.no_grad():
        net(torch.randn(4, 16, 1, 1))
    state = {f"main.{k}": v for k, v in net.state_dict().items()}
    state |= {k: torch.tensor(1000) for k in state if k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "g.pth")
    done = subprocess.run(
        [sys.executable, "-c", _COST, tmp_path / "g.pth"], capture_output=True, text=True, timeout=300, check=True
    )
    seconds, mebibytes = map(float, done.stdout.split())
    assert seconds < 30  # 3 s on an idle core
    assert mebibytes < 512
