"""`train/experiments/latent_margin.py`: what is put before a generator moves latents off the cells' borders, and does
nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gan_export import checkpoint, latents
from gan_export.graph.torch_module import build_module
from gan_export.training import models
from tests.conftest import latent_image
from tests.training.common import ROOT, environment

NZ, MARGIN = 16, 0.3


def _cut(source: Path, target: Path, *words: object) -> subprocess.CompletedProcess[str]:
    program = [
        sys.executable,
        str(ROOT / "train" / "experiments" / "latent_margin.py"),
        str(source),
        str(target),
        *map(str, words),
    ]
    return subprocess.run(program, env=environment(), capture_output=True, text=True, timeout=60, check=False)


def _generator(path: Path) -> models.Generator:
    torch.manual_seed(3)
    g = models.Generator(NZ, (12, 8, 8), 1)
    for _ in range(40):  # running statistics of its own
        g.model(torch.randn(64, NZ, 1, 1))
    torch.save(g.state_dict(), path)
    return g.eval()


@pytest.mark.long
def test_a_cut_generator_draws_what_the_whole_one_draws_further_inside_the_cell(tmp_path: Path) -> None:
    whole = _generator(tmp_path / "g.pth")
    done = _cut(tmp_path / "g.pth", tmp_path / "cut.pth", "--margin", MARGIN, "--keep", NZ, "--recalibrate", 0)
    assert done.returncode == 0, done.stderr
    read = checkpoint.read(tmp_path / "cut.pth")
    assert (latent_image(read.spec).nz, latent_image(read.spec).image) == (NZ, (1, 32, 32))

    z = torch.from_numpy(latents.draw(5, 0, 256, NZ))
    top = z[:, :10].topk(2, dim=1)
    clear = top.values[:, 0] - top.values[:, 1] > 0.011  # beyond the step's slope, 1 / 100
    moved = z.clone()
    moved[torch.arange(len(z)), top.indices[:, 0]] += MARGIN
    with torch.no_grad():
        want = whole(moved.reshape(-1, NZ, 1, 1))
    with torch.no_grad():
        got = build_module(read.spec, read.weights).eval()(z)
    assert clear.sum() > 230
    torch.testing.assert_close(got[clear], want[clear], rtol=0, atol=1e-5)
    assert (want - whole(z.reshape(-1, NZ, 1, 1))).abs().max() > 0.01  # the margin shows


@pytest.mark.long
def test_fewer_directions_make_a_smaller_file_and_nearly_the_same_pictures(tmp_path: Path) -> None:
    _generator(tmp_path / "g.pth")
    for keep in (6, 5):
        assert _cut(tmp_path / "g.pth", tmp_path / f"{keep}.pth", "--keep", keep, "--recalibrate", 512).returncode == 0
    assert (tmp_path / "5.pth").stat().st_size < (tmp_path / "6.pth").stat().st_size


@pytest.mark.long
def test_bad_input_is_refused_in_one_line(tmp_path: Path) -> None:
    _generator(tmp_path / "g.pth")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("no checkpoint")
    good, out = tmp_path / "g.pth", tmp_path / "out.pth"
    for source, target, *words in (
        (tmp_path / "other.pth", out), (tmp_path / "missing.pth", out), (tmp_path / "text.pth", out),
        (good, tmp_path / "nowhere" / "out.pth"), (good, out, "--cells", NZ + 1), (good, out, "--keep", 0),
    ):  # fmt: skip
        done = _cut(Path(str(source)), Path(str(target)), *words)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not out.exists()
