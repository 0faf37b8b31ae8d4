"""Filters decide over the whole run, exactly, and the manifest says what they left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gan_export import metrics
from gan_export.scale.filters import Reject, difference_hash
from tests.conftest import Command, refused
from tests.scale.conftest import COUNT, SEED, drawn, write_generator

ARGUMENTS = ("-n", COUNT, "--seed", SEED, "--workers", 1, "--shard-size", 20)


def load(folder: Path) -> dict[str, np.ndarray]:
    return {stem: np.load(folder / f"{stem}.npy") for stem in ("images", "labels", "indices")}


def test_a_hash_sees_through_tone_and_noise_and_tells_pictures_apart(labelled_gan: Path) -> None:
    pictures = drawn(labelled_gan)
    plain = np.stack(difference_hash(pictures))
    assert len(np.unique(plain, axis=1).T) > COUNT // 2
    flat = np.full((1, 32, 32, 3), 90, np.uint8)
    noise = np.random.default_rng(0).integers(0, 4, flat.shape).astype(np.uint8)
    assert np.array_equal(difference_hash(flat), difference_hash(flat + noise))


def test_duplicates_go_exactly_and_balance_is_exact(command: Command, labelled_gan: Path, tmp_path: Path) -> None:
    """psi 0 makes every picture of a label the same: ten are left, the first of each label."""
    out = tmp_path / "same"
    result = command("gan-sample", labelled_gan, *ARGUMENTS, "--format", "raw", "--psi", 0, "--dedupe", "-o", out)
    assert result.code == 0, result
    pictures, found = drawn(labelled_gan), load(out)
    hashes = np.stack(difference_hash(found["images"]))
    assert len(np.unique(hashes, axis=1).T) == len(found["images"]) <= 10
    assert found["indices"][0] == 0
    notes = json.loads((out / "MANIFEST.json").read_bytes())["notes"]
    assert notes["dedupe"]["dropped"] == COUNT - len(found["images"])
    assert notes["psi"]["variety"] < 1
    assert "of the variety" in result.out
    out = tmp_path / "even"
    result = command("gan-sample", labelled_gan, *ARGUMENTS, "--format", "raw", "--balance", "-o", out)
    assert result.code == 0, result
    found = load(out)
    counts = np.bincount(found["labels"])
    every = np.bincount(np.asarray([int(k) for k in all_labels()]))
    assert set(counts.tolist()) == {int(every.min())}
    assert np.array_equal(found["images"], pictures[found["indices"].astype(int)])
    assert "left out" in result.out
    assert command("gan-sample", "check", out, "-g", labelled_gan).code == 0
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    data = bytearray((out / "images.npy").read_bytes())
    data[-1] ^= 1
    (out / "images.npy").write_bytes(data)
    again = command("gan-sample", labelled_gan, *ARGUMENTS, "--format", "raw", "--balance", "-o", out)
    assert again.code == 0, again
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


def test_pictures_that_no_classifier_recognises_go(command: Command, tmp_path: Path) -> None:
    """The shipped generator's unsure digits, by the classifier that ships; their neighbours keep their index."""
    generator = Path(__file__).parents[2] / "exported" / "mnist32" / "generator.onnx"
    out = tmp_path / "sure"
    reject = ("--reject", "confidence < 0.99")
    result = command("gan-sample", generator, *ARGUMENTS, "--format", "raw", *reject, "-o", out)
    assert result.code == 0, result
    pictures = drawn(generator)
    classifier = metrics.judge().classifier
    sure = classifier.probabilities(classifier.features(pictures)).max(1) >= 0.99
    assert 0 < sure.sum() < COUNT
    assert np.array_equal(np.load(out / "images.npy"), pictures[sure])
    assert np.load(out / "indices.npy").tolist() == np.flatnonzero(sure).tolist()
    note = json.loads((out / "MANIFEST.json").read_bytes())["notes"]["confidence<0.99"]
    assert (note["dropped"], note["of"]) == (COUNT - sure.sum(), COUNT)


def test_a_condition_that_is_written_with_an_exponent(command: Command, tmp_path: Path) -> None:
    """So small a number is given back with one by the name that the manifest knows the filter by."""
    generator = Path(__file__).parents[2] / "exported" / "mnist32" / "generator.onnx"
    out = tmp_path / "d"
    for condition in ("confidence<0.00001", "confidence < 1e-5"):
        result = command("gan-sample", generator, *ARGUMENTS, "--format", "npy", "--reject", condition, "-o", out)
        assert result.code == 0, result
    assert "nothing: all was there" in result.out
    assert json.loads((out / "MANIFEST.json").read_bytes())["notes"]["confidence<1e-05"]["dropped"] == 0
    for below in (1.0, 0.9, 0.5e-3, 1e-5, 1.5e-12, 5e-324):
        assert Reject.parse(Reject(below).name) == Reject(below)


def test_other_pictures_than_digits_are_not_judged(command: Command, tmp_path: Path) -> None:
    colour = write_generator(tmp_path / "colour.gan", 0, channels=3)
    reject = ("--reject", "confidence<0.9", "--format", "npy")
    assert "no features are at hand" in refused(command("gan-sample", colour, *reject, "-o", tmp_path / "d"))


def all_labels() -> np.ndarray:
    from gan_export import latents

    return latents.labels(SEED, 0, COUNT, 10)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--balance", "--format", "npy"), "labels"),
        (("--dedupe", "--format", "npy", "--shard", "1/2"), "decide over the whole run"),
        (("--dedupe",), "add --format"),
        (("--reject", "confidence<0.9"), "add --format"),
        (("--reject", "sharpness<3", "--format", "npy"), "confidence<0.9"),
        (("--reject", "confidence<90", "--format", "npy"), "at most 1"),
        (("--reject", "confidence<1e-400", "--format", "npy"), "over 0"),
        (("--reject", "confidence<0.9.9", "--format", "npy"), "confidence<0.9"),
    ],
)
def test_bad_input(command: Command, gan: Path, tmp_path: Path, arguments: tuple[object, ...], says: str) -> None:
    assert says in refused(command("gan-sample", gan, *arguments, "-o", tmp_path / "d"))
    assert not list(tmp_path.iterdir())
