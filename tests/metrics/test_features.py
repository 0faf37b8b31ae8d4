"""`gan-sample evaluate --features --reference`: any network, any images."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import gan_export
from gan_export.errors import GanExportError
from gan_export.metrics import distances, reference
from gan_export.metrics.evaluators import find
from tests.conftest import Artifacts, Command, refused

Features = Callable[[int, int], Path]


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Write an ONNX file from (N, 1, 32, 32) to 16 features: a fixed linear map."""
    return write_network(
        tmp_path / "net.onnx", np.random.default_rng(1).normal(size=(1024, 16)).astype(np.float32) / 32
    )


def write_network(path: Path, weight: np.ndarray, rank: int = 2) -> Path:
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["features" if rank == 2 else "f2"]),
    ]
    if rank != 2:
        nodes.append(helper.make_node("Unsqueeze", ["f2", "axis"], ["features"]))
    weights = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.array([2]), "axis")]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 32, 32])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, None)], weights,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def evaluates(generator: Path, network: Path) -> tuple[object, ...]:
    return ("gan-sample", "evaluate", generator, "-n", 1000, "--features", network)


def folder_of(images: np.ndarray, target: Path) -> Path:
    target.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image[:, :, 0]).save(target / f"{i:04d}.png")
    return target


def test_a_generator_is_at_no_distance_from_its_own_images(
    command: Command, artifacts: Artifacts, network: Path, tmp_path: Path
) -> None:
    own = gan_export.sample(artifacts["onnx"], 1000, seed=1)
    real = folder_of(own, tmp_path / "real")
    words = (*evaluates(artifacts["onnx"], network), "--json", tmp_path / "f.json")
    first = command(*words, "--reference", real, "--write-reference", tmp_path / "real.npz")
    assert first.code == 0, first
    figures = json.loads((tmp_path / "f.json").read_text())
    assert abs(figures["frechet"]) < 1e-6
    assert figures["precision"] == figures["recall"] == figures["coverage"] == 1
    assert figures["kernel"] < 1e-3
    assert (figures["images"], figures["reference_images"], figures["neighbors"]) == (1000, 1000, 1000)
    again = command(*words, "--reference", tmp_path / "real.npz", "--seed", 2)
    assert again.code == 0, again
    assert "1,000 images against 1,000 of real" in again.out
    other = json.loads((tmp_path / "f.json").read_text())
    features = [find(str(network)).features(gan_export.sample(artifacts["onnx"], 1000, seed=s)) for s in (2, 1)]
    want = distances.frechet(*(distances.Gaussian.of(f) for f in features))
    assert other["frechet"] == pytest.approx(want, rel=1e-5, abs=1e-9)
    words = {"features": network, "reference": tmp_path / "real.npz"}
    found = gan_export.evaluate(artifacts["onnx"], 1000, seed=2, **words)
    assert found.frechet == other["frechet"]
    with pytest.raises(gan_export.GanExportError, match="features= and reference= go together"):
        gan_export.evaluate(artifacts["onnx"], 1000, features=network)  # type: ignore[call-overload]


def test_sums_over_blocks_are_those_of_all_at_once() -> None:
    features = (np.random.default_rng(0).normal(size=(999, 7)) * 3 + 100).astype(np.float32)
    sums = distances.Sums()
    for part in np.array_split(features, 10):
        sums.add(part)
    whole, found = distances.Gaussian.of(features), sums.gaussian()
    assert np.allclose(found.mean, whole.mean, rtol=1e-12)
    assert np.allclose(found.covariance, whole.covariance, rtol=1e-9, atol=1e-9)


def test_kernel_distance_precision_and_recall_are_those_of_torch_fidelity() -> None:
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    prc = pytest.importorskip("torch_fidelity.metric_prc")
    random = np.random.default_rng(0)
    a, b = (random.normal(size=(600, 8)).astype(np.float32) + shift for shift in (0.0, 0.3))
    one, two = torch.from_numpy(a), torch.from_numpy(b)
    mean, spread = distances.kernel_distance(a, b)
    settings = {"kid_subsets": 100, "kid_subset_size": 600, "verbose": False}
    want = kid.kid_features_to_metric(one.double(), two.double(), **settings)
    assert mean == pytest.approx(want["kernel_inception_distance_mean"], rel=1e-9)
    assert spread < 1e-9  # a subset is the whole set
    precision, recall, _ = distances.precision_recall_coverage(a, b)
    theirs = prc.prc_features_to_metric(one, two, prc_neighborhood=3, prc_batch_size=600, verbose=False)
    assert precision == pytest.approx(theirs["precision"], abs=2 / 600)
    assert recall == pytest.approx(theirs["recall"], abs=2 / 600)


def test_density_counts_neighborhoods() -> None:
    random = np.random.default_rng(0)
    real = random.normal(size=(400, 4)).astype(np.float32)
    assert distances.density(real + 1000, real) == 0
    assert 0.8 < distances.density(random.normal(size=(400, 4)).astype(np.float32), real) < 1.2
    assert distances.density(np.repeat(real[:1], 400, 0), real[:6]) >= 1  # in the neighborhood of all five others


@pytest.mark.long
def test_inception_is_that_of_torch_fidelity(command: Command, artifacts: Artifacts, tmp_path: Path) -> None:
    """With random weights, because nothing is downloaded here."""
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    with pytest.raises(GanExportError, match="doesn't exist"):
        find("inception", tmp_path / "w.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "bad.pth")
    with pytest.raises(GanExportError, match=r"bad\.pth .*weights="):
        find("inception", tmp_path / "bad.pth")
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:  # the class can't be made without a file of weights
        patch.setattr(fidelity.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        torch.save({}, tmp_path / "empty.pth")
        net = fidelity.FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=tmp_path / "empty.pth")
    torch.save(net.state_dict(), tmp_path / "w.pth")
    images = gan_export.sample(artifacts["onnx"], 4, seed=1)
    x = torch.from_numpy(images.transpose(0, 3, 1, 2)).repeat(1, 3, 1, 1)
    with torch.no_grad():
        (want,) = net.eval()(x)
    assert np.allclose(find("inception", tmp_path / "w.pth").features(images), want.numpy(), rtol=1e-4, atol=1e-6)
    with pytest.raises(GanExportError, match="1 or 3 channels"):
        find("inception", tmp_path / "w.pth").check((2, 32, 32))


def test_a_reference_that_does_not_fit_is_one_line(
    command: Command, artifacts: Artifacts, network: Path, tmp_path: Path
) -> None:
    words = evaluates(artifacts["onnx"], network)
    large = folder_of(np.zeros((100, 40, 32, 1), np.uint8), tmp_path / "large")
    assert "0000.png is 40x32" in refused(command(*words, "--reference", large))
    (tmp_path / "few").mkdir()
    assert "0 images; at least 100" in refused(command(*words, "--reference", tmp_path / "few"))
    assert "has no statistics" in refused(command(*words, "--reference", network))
    np.savez_compressed(tmp_path / "bomb.npz", mean=np.zeros(4))
    assert "compressed" in refused(command(*words, "--reference", tmp_path / "bomb.npz"))
    kept = reference.measure(
        [np.random.default_rng(0).integers(0, 256, (200, 32, 32, 1), np.uint8)], find(str(network))
    )
    reference.Reference("another", (1, 32, 32), "s", kept).save(tmp_path / "other.npz")
    assert "measured by another" in refused(command(*words, "--reference", tmp_path / "other.npz"))
    reference.Reference(find(str(network)).name, (1, 64, 64), "s", kept).save(tmp_path / "size.npz")
    assert "reference images of 1x64x64" in refused(command(*words, "--reference", tmp_path / "size.npz"))
    assert zipfile.is_zipfile(tmp_path / "size.npz")
    deep = write_network(tmp_path / "rank3.onnx", np.zeros((1024, 4), np.float32), rank=3)
    real = folder_of(np.zeros((100, 32, 32, 1), np.uint8), tmp_path / "real")
    assert "it must be (100, K)" in refused(command(*words[:-1], deep, "--reference", real))
    assert "--reference" in refused(command(*words))
    assert "--features" in refused(command(*words[:-2], "--reference", real))
    assert "only the evaluator inception" in refused(command(*words, "--reference", real, "--weights", network))


def test_resize_crops_around_the_center(command: Command, artifacts: Artifacts, network: Path, tmp_path: Path) -> None:
    own = gan_export.sample(artifacts["onnx"], 200, seed=1)
    wide = np.pad(own.repeat(2, 1).repeat(2, 2), ((0, 0), (0, 0), (10, 10), (0, 0)))
    words = (*evaluates(artifacts["onnx"], network), "--json", tmp_path / "f.json")
    done = command(*words, "--reference", folder_of(wide, tmp_path / "real"), "--resize")
    assert done.code == 0, done
    assert json.loads((tmp_path / "f.json").read_text())["coverage"] > 0.9
