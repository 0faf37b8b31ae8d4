"""Test that filters decide over the whole run, exactly, and that the manifest states what they dropped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from gan_export.datasets.filters import Confidence, find
from gan_export.metrics.digits import Digits
from tests.conftest import Command, refused
from tests.datasets.conftest import COUNT, SEED, drawn, write_generator

ARGUMENTS = ("-n", COUNT, "--seed", SEED, "--workers", 1, "--shard-size", 20)


def load(folder: Path) -> dict[str, np.ndarray]:
    return {stem: np.load(folder / f"{stem}.npy") for stem in ("images", "labels", "indices")}


def write_classifier(target: Path, *, channels: int = 1, size: int = 32, dtype: int = onnx.TensorProto.FLOAT) -> Path:
    """Write a classifier of two classes by the mean of the pixels in [-1, 1].

    The logits are 8 times the mean, and 0.
    """
    h, f = onnx.helper, onnx.TensorProto.FLOAT
    weights = [
        onnx.numpy_helper.from_array(np.array([8.0, 0.0], np.float32).reshape(1, 2), "weight"),
        onnx.numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes"),
    ]
    nodes = [
        h.make_node("Cast", ["image"], ["x"], to=f),
        h.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        h.make_node("Unsqueeze", ["mean", "last"], ["column"]),
        h.make_node("MatMul", ["column", "weight"], ["logits"]),
    ]
    weights.append(onnx.numpy_helper.from_array(np.array([1], np.int64), "last"))
    image = h.make_tensor_value_info("image", dtype, ["n", channels, size, size])
    graph = h.make_graph(nodes, "mean", [image], [h.make_tensor_value_info("logits", f, ["n", 2])], weights)
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 18)], ir_version=8), target)
    return target


def test_a_classifier_of_ones_own_decides(command: Command, labeled_gan: Path, tmp_path: Path) -> None:
    """The kept images are those that NumPy chooses, and the manifest identifies the classifier by its content."""
    classifier = write_classifier(tmp_path / "mine.onnx")
    means = drawn(labeled_gan).astype(np.float32).mean((1, 2, 3)) / 127.5 - 1
    below = float(np.median(1 / (1 + np.exp(-np.abs(8 * means)))))
    sure = 1 / (1 + np.exp(-np.abs(8 * means))) >= below
    assert 0 < sure.sum() < COUNT
    words = ("--format", "raw", "--filter", f"confidence<{below}", "--classifier", classifier)
    out = tmp_path / "sure"
    result = command("gan-sample", "dataset", labeled_gan, *ARGUMENTS, *words, "-o", out)
    assert result.code == 0, result
    assert np.abs(np.isin(np.arange(COUNT), load(out)["indices"]).astype(int) - sure).sum() <= 1  # one is the median
    manifest = json.loads((out / "MANIFEST.json").read_bytes())
    name = f"mine.onnx {hashlib.sha256(classifier.read_bytes()).hexdigest()}"
    assert manifest["job"]["filters"] == [f"confidence<{below!r} by {name}"]
    assert str(tmp_path) not in (out / "MANIFEST.json").read_text()
    assert command("gan-sample", "check", out, "-g", labeled_gan).code == 0
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    data = bytearray((out / "images.npy").read_bytes())
    data[-1] ^= 1
    (out / "images.npy").write_bytes(data)
    again = command("gan-sample", "dataset", labeled_gan, *ARGUMENTS, *words, "-o", out)
    assert again.code == 0, again
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


def test_a_manifest_of_an_earlier_filter_is_still_read(command: Command, labeled_gan: Path, tmp_path: Path) -> None:
    out = tmp_path / "d"
    words = ("--format", "raw", "--filter", "confidence<0.05", "-o", out)
    assert command("gan-sample", "dataset", labeled_gan, *ARGUMENTS, *words).code == 0
    manifest = json.loads((out / "MANIFEST.json").read_bytes())
    manifest["job"]["filters"] = ["confidence<0.05", "dedupe", "balance"]
    manifest["notes"] = {"kept": COUNT, "dedupe": {"dropped": 0, "of": COUNT, "hash": "difference hash, 8 rows of 16"}}
    (out / "MANIFEST.json").write_text(json.dumps(manifest))
    result = command("gan-sample", "check", out, "-g", labeled_gan)
    assert result.code == 0, result


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p, "doesn't exist"),
        (lambda p: p.write_bytes(b"no ONNX") and p, "can't load it"),
        (lambda p: write_classifier(p, channels=3), "reads images of 3x32x32, not of 1x32x32"),
        (lambda p: write_classifier(p, dtype=onnx.TensorProto.INT32), "free, float32 or uint8"),
    ],
)
def test_a_classifier_that_is_none(
    command: Command, gan: Path, tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    words = ("--filter", "confidence<0.9", "--format", "npy", "--classifier", make(tmp_path / "c.onnx"))
    assert message in refused(command("gan-sample", "dataset", gan, *words, "-o", tmp_path / "d"))
    assert not (tmp_path / "d").exists()


def test_images_that_no_classifier_recognizes_are_dropped(command: Command, tmp_path: Path) -> None:
    """The bundled generator's unsure digits are dropped by the bundled classifier; the others keep their index."""
    generator = Path(__file__).parents[2] / "exported" / "mnist32" / "generator.onnx"
    out = tmp_path / "sure"
    reject = ("--filter", "confidence < 0.99")
    result = command("gan-sample", "dataset", generator, *ARGUMENTS, "--format", "raw", *reject, "-o", out)
    assert result.code == 0, result
    pictures = drawn(generator)
    sure = Digits().classify(pictures).max(1) >= 0.99
    assert 0 < sure.sum() < COUNT
    assert np.array_equal(np.load(out / "images.npy"), pictures[sure])
    assert np.load(out / "indices.npy").tolist() == np.flatnonzero(sure).tolist()
    note = json.loads((out / "MANIFEST.json").read_bytes())["notes"]["confidence<0.99"]
    assert (note["dropped"], note["of"]) == (COUNT - sure.sum(), COUNT)


def test_a_condition_that_is_written_with_an_exponent(command: Command, tmp_path: Path) -> None:
    """A number this small is printed with an exponent in the filter's name in the manifest."""
    generator = Path(__file__).parents[2] / "exported" / "mnist32" / "generator.onnx"
    out = tmp_path / "d"
    for condition in ("confidence<0.00001", "confidence < 1e-5"):
        result = command(
            "gan-sample", "dataset", generator, *ARGUMENTS, "--format", "npy", "--filter", condition, "-o", out
        )
        assert result.code == 0, result
    assert "nothing: all shards were finished" in result.out
    assert json.loads((out / "MANIFEST.json").read_bytes())["notes"]["confidence<1e-05"]["dropped"] == 0
    for below in (1.0, 0.9, 0.5e-3, 1e-5, 1.5e-12, 5e-324):
        for classifier in ("digits", "a file by me.onnx 0123"):
            assert find(Confidence(below, classifier).name) == Confidence(below, classifier)


def test_other_pictures_than_digits_are_not_judged(command: Command, tmp_path: Path) -> None:
    color = write_generator(tmp_path / "color.gan", 0, channels=3)
    reject = ("--filter", "confidence<0.9", "--format", "npy")
    assert "there are no features" in refused(command("gan-sample", "dataset", color, *reject, "-o", tmp_path / "d"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--filter", "confidence<0.9", "--format", "npy", "--part", "1/2"), "needs the whole run"),
        (("--classifier", "digits", "--format", "npy"), "add --filter"),
        (("--filter", "confidence<0.9", "--classifier", "cats", "--format", "npy"), "there are digits"),
        (("--filter", "confidence<0.9"), "--format"),
        (("--filter", "sharpness<3", "--format", "npy"), "confidence<0.9"),
        (("--filter", "confidence<90", "--format", "npy"), "at most 1"),
        (("--filter", "confidence<1e-400", "--format", "npy"), "above 0"),
        (("--filter", "confidence<0.9.9", "--format", "npy"), "confidence<0.9"),
    ],
)
def test_bad_input(command: Command, gan: Path, tmp_path: Path, arguments: tuple[object, ...], message: str) -> None:
    assert message in refused(command("gan-sample", "dataset", gan, *arguments, "-o", tmp_path / "d"))
    assert not list(tmp_path.iterdir())
