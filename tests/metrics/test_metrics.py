"""Distances between sets of pictures, the digit classifier that ships, and `gan-sample evaluate`."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
from PIL import Image

from gan_export.errors import GanExportError
from gan_export.metrics import distances
from gan_export.metrics.digits import Digits, to_classifier_input
from gan_export.pipeline import evaluate
from gan_export.training import data, recipe
from tests.conftest import Artifacts, Command, refused
from tests.training.common import DATA_ROOT

SHAPE = (1, 32, 32)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """1,000 real training digits as uint8 (N, 32, 32, 1), and their labels."""
    shipped = data.open_source(recipe.Data(source="mnist-10k"), None)
    assert shipped.labels is not None
    chosen = np.arange(3000, 4000)
    return shipped.read(chosen).transpose(0, 2, 3, 1), shipped.labels[chosen]


def test_frechet_is_the_textbook_distance() -> None:
    random = np.random.default_rng(0)
    a, b = (random.normal(size=(200, 6)) @ random.normal(size=(6, 6)) + random.normal(size=6) for _ in range(2))
    one, two = distances.Gaussian.of(a.astype(np.float32)), distances.Gaussian.of(b.astype(np.float32))
    root = scipy.linalg.sqrtm(one.covariance @ two.covariance).real
    want = ((one.mean - two.mean) ** 2).sum() + np.trace(one.covariance + two.covariance - 2 * root)
    assert distances.frechet(one, two) == pytest.approx(want, rel=1e-6)
    assert distances.frechet(two, one) == pytest.approx(want, rel=1e-6)
    assert distances.frechet(one, one) == pytest.approx(0, abs=1e-8)


def test_manifolds_tell_quality_from_variety() -> None:
    random = np.random.default_rng(0)
    left, right = (random.normal(size=(200, 4)).astype(np.float32) + shift for shift in (-50, 50))
    real = np.concatenate((left, right))
    fresh = (random.normal(size=(400, 4)) - 50).astype(np.float32)
    precision, recall, coverage = distances.precision_recall_coverage(fresh, real)  # good ones, of one kind only
    assert precision > 0.8
    assert 0.4 < recall < 0.5
    assert 0.4 < coverage <= 0.5
    assert distances.precision_recall_coverage(real, real) == (1.0, 1.0, 1.0)
    assert distances.precision_recall_coverage(real + 1000, real) == (0.0, 0.0, 0.0)


def test_the_nearest_is_found_and_a_copy_is_at_no_distance(digits: tuple[np.ndarray, np.ndarray]) -> None:
    pictures, _ = digits
    chosen = np.array([5, 700, 42])
    where, apart = distances.nearest(pictures[chosen], pictures)
    assert where.tolist() == chosen.tolist()
    assert apart.tolist() == [0, 0, 0]
    _, others = distances.nearest(pictures[:5], pictures[5:])
    want = np.sqrt(((pictures[:5, None].astype(float) - pictures[None, 5:]) ** 2).mean((2, 3, 4))).min(1)
    assert np.allclose(others, want)


def test_the_judge_is_small_and_sure_of_real_digits(digits: tuple[np.ndarray, np.ndarray]) -> None:
    assert len(resources.files("gan_export").joinpath("data", "digits-judge.npz").read_bytes()) < 1_000_000
    pictures, labels = digits
    report = Digits().evaluate(pictures, labels)
    assert report.judge_test_accuracy >= 0.993
    assert report.agreement is not None
    assert report.agreement > 0.99
    assert report.sure_share > 0.97
    assert all(0.07 < share < 0.13 for share in report.digits)
    assert report.floor_pictures == 1000
    assert report.distances.frechet < 2 * report.floor.frechet
    assert report.distances.coverage > 0.6
    noise = np.random.default_rng(0).integers(0, 256, (1000, 32, 32, 1), np.uint8)
    of_noise = Digits().evaluate(noise)
    assert of_noise.distances.frechet > 50 * report.distances.frechet
    assert of_noise.distances.precision < 0.05
    assert of_noise.agreement is None


@pytest.mark.long
@pytest.mark.skipif(not DATA_ROOT.is_dir(), reason="the full MNIST is not on this machine")
def test_its_accuracy_is_what_it_says() -> None:
    test = data.torchvision_set("mnist", DATA_ROOT, SHAPE, train=False)
    assert test.labels is not None
    report = Digits().evaluate(test.read(np.arange(len(test))).transpose(0, 2, 3, 1), test.labels)
    assert report.agreement == pytest.approx(report.judge_test_accuracy, abs=2e-4)  # rounding of another machine
    assert report.sure_share == pytest.approx(report.sure_share_real_test, abs=5e-4)
    assert report.distances.frechet < 0.01  # test digits against themselves


def test_small_digits_are_read_too_and_other_pictures_are_not() -> None:
    small = np.zeros((2, 28, 28, 1), np.uint8)
    small[:, 10:20, 13:15] = 255
    larger = to_classifier_input(small)
    want = np.asarray(Image.fromarray(small[0, :, :, 0]).resize((32, 32), Image.Resampling.BILINEAR))
    assert np.array_equal(larger[0, :, :, 0], want)
    for shape in ((1, 32, 32, 3), (1, 64, 64, 1)):
        with pytest.raises(GanExportError, match="there are no features"):
            to_classifier_input(np.zeros(shape, np.uint8))


def test_evaluate_says_the_same_of_every_form(
    command: Command, classic_pth: Path, artifacts: Artifacts, tmp_path: Path
) -> None:
    results = []
    for file in (classic_pth, artifacts["onnx"]):
        result = command("gan-sample", "evaluate", file, "-n", 1000, "--json", tmp_path / "result.json")
        assert result.code == 0, result
        results.append(json.loads((tmp_path / "result.json").read_text()))
    assert "Frechet distance" in result.out
    assert results[0].keys() == results[1].keys()
    for key, value in results[0].items():
        assert results[1][key] == pytest.approx(value, rel=0.01, abs=0.003), key
    assert {"frechet", "frechet_floor", "sure_share", "sure_share_real_test", "digits", "coverage"} <= results[0].keys()


def test_neighbors_are_shown_beside_the_pictures(command: Command, classic_pth: Path, tmp_path: Path) -> None:
    out = tmp_path / "near.png"
    result = command("gan-sample", "evaluate", classic_pth, "-n", 1000, "--nearest", out)
    assert result.code == 0, result
    assert "times that of the last 1,000 of the 10,000 digits that ship" in result.out
    with Image.open(out) as sheet:
        assert sheet.size == (8 * 34 + 2, 16 * 34 + 2)
        pixels = np.asarray(sheet)
    training = data.open_source(recipe.Data(source="mnist-10k"), None).read(np.arange(9000))[:, 0]
    second = pixels[2:34, 36:68]
    assert (training == second).all((1, 2)).any()  # beside the first picture stands a real digit


def test_evaluating_an_onnx_file_needs_no_torch(artifacts: Artifacts) -> None:
    program = (
        "import sys\n"
        "from gan_export.cli.train import main\n"
        "try: main()\n"
        "finally: print([m for m in ('torch', 'torchvision') if m in sys.modules])\n"
    )
    words = [sys.executable, "-c", program, "evaluate", str(artifacts["onnx"]), "-n", "1000"]
    result = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert result.stdout.strip().endswith("[]"), result.stderr


def test_what_can_not_be_measured_is_refused(command: Command, classic_pth: Path, tmp_path: Path) -> None:
    assert "at least 1000" in refused(command("gan-sample", "evaluate", classic_pth, "-n", 10))
    wrong = ["-n", 1000, "--nearest", tmp_path / "n.png", "--data-root", tmp_path]
    assert "contains no MNIST/raw" in refused(command("gan-sample", "evaluate", classic_pth, *wrong))
    assert evaluate.N_SHOWN == 64
    assert not list(tmp_path.iterdir())
