"""gan-sample interpolate: a film that loops without a seam, in each of its formats."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_export import latents
from gan_export.sampling import interpolate
from gan_export.sampling.opening import open_generator
from tests.conftest import Command, of_channels, refused


def _frames(path: Path) -> np.ndarray:
    with Image.open(path) as film:
        shown = []
        for i in range(film.n_frames):  # type: ignore[attr-defined]
            film.seek(i)
            shown.append(np.asarray(film.convert("L"), np.int64))
        assert film.info["loop"] == 0  # for ever
    return np.stack(shown)


def test_between_two_latents_the_path_keeps_to_the_sphere() -> None:
    a, b = latents.draw(1, 0, 5, 64), latents.draw(1, 5, 5, 64)
    ends = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    assert np.allclose(interpolate.slerp(a, b, 0.0), a, atol=1e-6)
    assert np.allclose(interpolate.slerp(a, b, 1.0), b, atol=1e-6)
    halfway = np.linalg.norm(interpolate.slerp(a, b, 0.5), axis=1)
    assert (halfway > 0.9 * np.minimum(*ends)).all()
    assert (np.linalg.norm((a + b) / 2, axis=1) < halfway).all()  # where the straight line would pass
    assert np.allclose(interpolate.slerp(a, a, 0.3), a, atol=1e-5)
    assert np.allclose(interpolate.slerp(a, b, 0.25, straight=True), 0.75 * a + 0.25 * b, atol=1e-6)


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_a_film_visits_the_seeds_pictures_and_has_no_seam(
    command: Command, classic_pth: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"walk{suffix}"
    result = command("gan-sample", "interpolate", classic_pth, "--keypoints", 3, "--seed", 4, "-o", out)
    assert result.code == 0, result
    film = _frames(out)
    assert film.shape == (3 * interpolate.FRAMES, 256, 256)
    with open_generator(classic_pth) as generator:
        stops = generator.sample(3, seed=4)[..., 0].astype(int)
    small = film[:, 4::8, 4::8]
    for stop, picture in enumerate(stops):
        assert np.abs(small[stop * interpolate.FRAMES] - picture).max() <= 1
    steps = np.abs(np.diff(np.concatenate((small, small[:1])), axis=0)).mean((1, 2))
    assert steps[-1] < 1.5 * steps[:-1].max()  # the last frame turns into the first as any into its next
    assert steps.max() < np.abs(stops[0] - stops[1]).mean() / 2


def test_an_mp4_holds_the_same_frames(command: Command, classic_pth: Path, tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV (the video extra) is not installed")
    for name in ("walk.mp4", "walk.webp"):
        assert (
            command("gan-sample", "interpolate", classic_pth, "--keypoints", 2, "-n", 4, "-o", tmp_path / name).code
            == 0
        )
    with av.open(str(tmp_path / "walk.mp4")) as film:
        got = np.stack([f.to_ndarray(format="gray") for f in film.decode(video=0)]).astype(int)
    want = _frames(tmp_path / "walk.webp")
    assert got.shape == want.shape
    assert np.abs(got - want).mean() < 8  # H.264 loses a little


def test_between_opposite_latents_it_goes_straight() -> None:
    a, b = np.float32([[0.5]]), np.float32([[-0.8]])
    assert np.allclose(interpolate.slerp(a, b, 0.5), [[-0.15]], atol=1e-6)


@pytest.mark.long
def test_many_small_walks_are_one_film(command: Command, tmp_path: Path) -> None:
    """The sheet of them all is large enough to be shown as it is."""
    result = command(
        "gan-sample", "interpolate", of_channels(3, tmp_path), "--keypoints", 2, "-n", 64, "-o", tmp_path / "w.gif"
    )
    assert result.code == 0, result
    with Image.open(tmp_path / "w.gif") as film:
        assert film.size == (8 * 34 + 2, 8 * 34 + 2)
        assert film.n_frames == 2 * interpolate.FRAMES  # type: ignore[attr-defined]


@pytest.mark.parametrize("channels", [2, 4])
def test_a_film_has_no_alpha(command: Command, tmp_path: Path, channels: int) -> None:
    suffixes = [".gif", ".webp"] + ([".mp4"] if importlib.util.find_spec("av") else [])
    checkpoint = of_channels(channels, tmp_path)
    for suffix in suffixes:
        result = command("gan-sample", "interpolate", checkpoint, "--keypoints", 2, "-o", tmp_path / f"w{suffix}")
        assert result.code == 0, result
    with Image.open(tmp_path / "w.webp") as film, open_generator(checkpoint) as drawn:
        seen = np.asarray(film.convert("RGB"), int)[4::8, 4::8]
        first = drawn.sample(1)[0].astype(int)
    assert np.abs(seen - (first[..., :3] if channels == 4 else first[..., :1])).max() <= 1


def test_what_can_be_no_film_is_refused(command: Command, classic_pth: Path, tmp_path: Path) -> None:
    for more, word in (
        (["--keypoints", 1, "-o", tmp_path / "w.gif"], "must be at least 2"),
        (["--keypoints", 4, "-o", tmp_path / "w.png"], ".gif, .webp, .mp4"),
        (["--keypoints", 100_000, "-n", 64, "-o", tmp_path / "w.gif"], "too large"),
        (["--keypoints", 4, "--latents", "z.npy", "-o", tmp_path / "w.gif"], "no such option: --latents"),
    ):
        assert word in refused(command("gan-sample", "interpolate", classic_pth, *more))
    assert not list(tmp_path.iterdir())
