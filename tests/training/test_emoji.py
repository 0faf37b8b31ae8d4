"""The source `emoji`: a font that is made here, since the real one is not on every machine."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from gan_export import checkpoint
from gan_export.errors import GanExportError
from gan_export.recognize.options import ReadOptions
from gan_export.training import data, emoji, recipe
from tests.conftest import Command, latent_image
from tests.training.color_font import HEIGHT, WIDTH, font

SMALL = [
    "generator.widths=[4,4,4,4]", "discriminator.widths=[4,4,4,4]", "train.batch=4", "train.epochs=1",
    "ema.recalibrate=64", "compute.device=cpu", "compute.threads=1",
]  # fmt: skip


def _picture(color: tuple[int, int, int]) -> Image.Image:
    """A transparent bitmap, whose left half has a color."""
    image = Image.new("RGBA", (WIDTH, HEIGHT))
    image.paste((*color, 255), (0, 0, WIDTH // 2, HEIGHT))
    return image


@pytest.fixture(scope="module")
def colored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A font with a red and a green face and a blue hand."""
    path = tmp_path_factory.mktemp("fonts") / "colored.ttf"
    path.write_bytes(font({"😀": _picture((255, 0, 0)), "😎": _picture((0, 255, 0)), "👍": _picture((0, 0, 255))}))
    return path


def _source(path: Path | str, size: int = 64, channels: int = 3) -> data.DataSource:
    return data.open_source(recipe.Data(source="emoji", path=str(path), size=size, channels=channels), None)


def test_each_emoji_of_the_font_comes_on_white_with_its_mirror_image_and_its_group(colored: Path) -> None:
    source = _source(colored)
    listed = sum(map(len, emoji.groups().values()))
    assert len(source) == 6
    assert len(source.skipped) == listed - 3
    assert "U+1F603: not in the font" in source.skipped
    groups = list(emoji.groups())
    assert source.labels is not None
    assert [groups[i] for i in source.labels] == ["faces", "faces", "hands"] * 2
    images = source.read(np.arange(6))
    assert images.shape == (6, 3, 64, 64)
    assert np.array_equal(images[:3, ..., ::-1], images[3:])
    for image, color in zip(images, ((255, 0, 0), (0, 255, 0), (0, 0, 255)), strict=False):
        assert tuple(image[:, 32, 16]) == color
        assert tuple(image[:, 32, 48]) == (255, 255, 255)


def test_no_emoji_is_listed_twice() -> None:
    listed = "".join(emoji.groups().values())
    assert len(set(listed)) == len(listed) > 500
    assert len(emoji.groups()) == recipe.load("emoji64").generator.classes


def test_the_recipe_trains_on_a_font(colored: Path, command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = [word for s in (f"data.path={colored}", *SMALL) for word in ("--set", s)]
    result = command("gan-train", "emoji64", "-o", run, *settings)
    assert result.code == 0, result.err
    read = latent_image(checkpoint.read(run / "generator_1.pth", ReadOptions()).spec)
    assert (read.image, read.classes) == ((3, 64, 64), 8)
    again = command("gan-train", "resume", run, "--set", "train.epochs=2", "--set", f"data.path={tmp_path}/none.ttf")
    assert (again.code, again.err.count("\n")) == (2, 1), again.err
    assert command("gan-train", "resume", run, "--set", "train.epochs=2").code == 0
    assert (run / "generator_2.pth").is_file()


def _plain() -> bytes:
    """An ordinary font, without color: Pillow's own."""
    plain = ImageFont.load_default(20).path
    assert isinstance(plain, io.BytesIO)
    return plain.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_plain(), "no color bitmaps"),
        (font({"😀": _picture((1, 2, 3))}, pixels=64), "no images of 109 pixels"),
        (font({"A": _picture((1, 2, 3))}), "none of the listed emoji"),
        (font({"😀": _picture((1, 2, 3))})[:200], "is damaged"),
        (b"a text of some length that is no font", "is not a font"),
        (b"", "is not a font"),
        (None, "No such file"),
    ],
)
def test_another_file_is_refused_in_one_line(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "some.ttf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GanExportError, match=said) as caught:
        _source(path)
    assert "fonts-noto-color-emoji" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="fonts are in other folders")
def test_the_installed_font_is_found_and_a_missing_one_named(
    colored: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    missing = command("gan-train", "emoji64")
    assert missing.code == 2
    assert missing.err.count("\n") <= 2, missing.err
    assert "fonts-noto-color-emoji" in missing.err.splitlines()[0]
    assert not (tmp_path / "runs").exists()
    (tmp_path / "fonts").mkdir()
    (tmp_path / "fonts" / emoji.FONT).write_bytes(colored.read_bytes())
    assert len(_source("")) == 6
