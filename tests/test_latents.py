"""The law of latents: known answers, independence of how it is asked, and being normal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from gan_export import latents
from gan_export.errors import GanExportError

VECTORS = Path(__file__).resolve().parents[1] / "engine" / "tests" / "kat_vectors"


def answers(kind: str) -> Iterator[tuple[list[str], list[str]]]:
    for line in VECTORS.read_text().splitlines():
        words = line.partition("#")[0].split()
        if words and words[0] == kind:
            given, _, wanted = " ".join(words[1:]).partition(" -> ")
            yield given.split(), wanted.split()


def test_philox_gives_the_known_words() -> None:
    cases = list(answers("philox"))
    assert len(cases) >= 3
    for given, wanted in cases:
        numbers = [int(w, 16) for w in given]
        got = latents.philox(tuple(numbers[:4]), tuple(numbers[4:]))  # type: ignore[arg-type]
        assert [f"{w:08x}" for w in got] == wanted


def test_the_table_is_the_pinned_one() -> None:
    (pinned,) = [given[0] for given, _ in answers("table")]
    assert pinned == latents.TABLE_SHA256
    assert hashlib.sha256(latents.normal_table().astype("<f4").tobytes()).hexdigest() == pinned


def test_the_table_is_the_rounded_inverse_normal() -> None:
    exact = stats.norm.ppf((np.arange(65536) + 0.5) / 65536)
    assert np.array_equal(latents.normal_table(), exact.astype(np.float32))
    for (u, bits), _ in answers("entry"):
        assert latents.normal_table()[int(u)].view(np.uint32) == int(bits, 16)


@pytest.mark.parametrize("form", ["numpy", "torch"])
def test_latents_are_the_known_ones(form: str) -> None:
    cases = list(answers("latent"))
    assert {given[0] for given, _ in cases} == {"normal", "uniform"}
    for (prior, seed, index, nz), wanted in cases:
        if form == "numpy":
            drawn = latents.draw(int(seed), int(index), 1, int(nz), prior)
        else:
            drawn = latents.draw_torch(int(seed), int(index), 1, int(nz), prior).numpy()
        assert [f"{bits:08x}" for bits in drawn.view(np.uint32)[0]] == wanted


def test_labels_are_the_known_ones() -> None:
    for (seed, index, classes), (wanted,) in answers("label"):
        assert latents.labels(int(seed), int(index), 1, int(classes))[0] == int(wanted)


@pytest.mark.parametrize("nz", [1, 7, 8, 100, 128, 513])
def test_an_image_has_the_same_latents_in_any_batch(nz: int) -> None:
    whole = latents.draw(9, 5, 300, nz)
    assert np.array_equal(whole[17:18], latents.draw(9, 22, 1, nz))
    assert np.array_equal(whole[100:207], latents.draw(9, 105, 107, nz))
    assert np.array_equal(whole, latents.draw_torch(9, 5, 300, nz).numpy())
    longer = latents.draw(9, 5, 300, nz + 3)
    assert np.array_equal(longer[:, :nz], whole)


def test_a_large_draw_equals_its_parts() -> None:
    whole = latents.draw(3, 0, 20_000, 100)  # more than one piece of the implementation's
    assert np.array_equal(whole[19_990:], latents.draw(3, 19_990, 10, 100))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_gives_the_same_bits() -> None:
    on_gpu = latents.draw_torch(7, 2**40, 4096, 100, device="cuda").cpu().numpy()
    assert np.array_equal(on_gpu, latents.draw(7, 2**40, 4096, 100))


def test_out_is_filled() -> None:
    out = np.full((4, 10), np.nan, np.float32)
    assert latents.draw(1, 0, 4, 10, out=out) is out
    assert np.array_equal(out, latents.draw(1, 0, 4, 10))


def test_latents_are_normal() -> None:
    z = latents.draw(11, 0, 20_000, 64).astype(np.float64)
    n = z.size
    assert abs(z.mean()) < 5 / np.sqrt(n)
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs(stats.skew(z, axis=None)) < 5 * np.sqrt(6 / n)
    assert abs(stats.kurtosis(z, axis=None)) < 5 * np.sqrt(24 / n) + 1e-3  # the table's own is 2.9992
    assert stats.kstest(z.ravel()[:200_000], "norm").pvalue > 1e-3


def test_uniform_latents_are_uniform() -> None:
    z = latents.draw(11, 0, 5_000, 64, "uniform")
    assert -1 < z.min() < -0.9999
    assert 0.9999 < z.max() < 1
    assert stats.kstest(z.ravel()[:200_000], stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_coordinates_images_and_seeds_do_not_correlate() -> None:
    z = latents.draw(0, 0, 8_000, 40).astype(np.float64)
    limit = 6 / np.sqrt(len(z))
    correlation = np.corrcoef(z.T) - np.eye(40)
    assert np.abs(correlation).max() < limit
    assert abs(np.corrcoef(z[:-1].ravel(), z[1:].ravel())[0, 1]) < 6 / np.sqrt(z.size)
    for other in (1, 2, 1 << 32):
        w = latents.draw(other, 0, 8_000, 40).astype(np.float64)
        assert abs(np.corrcoef(z.ravel(), w.ravel())[0, 1]) < 6 / np.sqrt(z.size)


def test_random_labels_are_even() -> None:
    counts = np.bincount(latents.labels(5, 0, 50_000, 10), minlength=10)
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(
    ("seed", "start", "count", "nz", "message"),
    [
        (-1, 0, 1, 8, "seed=-1"),
        (1 << 64, 0, 1, 8, "seed"),
        (0, -1, 1, 8, "indices"),
        (0, (1 << 64) - 1, 2, 8, "indices"),
        (0, 1 << 64, 0, 8, "indices"),
        (0, 0, -1, 8, "negative"),
        (0, 0, 1, 0, "latent size 0"),
    ],
)
def test_what_the_law_does_not_hold_is_refused(seed: int, start: int, count: int, nz: int, message: str) -> None:
    with pytest.raises(GanExportError, match=message):
        latents.draw(seed, start, count, nz)
