"""The byte rule, grids, PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.utils import save_image

from gan_export import images
from gan_export.errors import GanExportError
from gan_export.graph.ports import Port
from gan_export.graph.torch_module import ToBytes


def test_bytes_follow_the_rule() -> None:
    values = np.array([-9, -1, -0.9999, 0, 1 / 255, 0.5, 0.9999, 1, 9, np.nan, np.inf, -np.inf], np.float32)
    wanted = [0, 0, 0, 128, 128, 191, 255, 255, 255, 0, 255, 0]
    assert images.to_bytes(values.reshape(1, 1, 1, -1)).ravel().tolist() == wanted


def test_bytes_are_torchvisions_and_the_modules(tmp_path: Path) -> None:
    x = torch.rand(5, 3, 9, 7, generator=torch.Generator().manual_seed(3)) * 2.4 - 1.2
    mine = images.to_bytes(x.numpy())
    assert mine.shape == (5, 9, 7, 3)
    assert np.array_equal(ToBytes(Port("image", "image", (3, 9, 7), range=(-1, 1)))(x).numpy(), mine)
    save_image(x[0], tmp_path / "x.png", normalize=True, value_range=(-1, 1))
    theirs = np.asarray(Image.open(tmp_path / "x.png")).astype(int)
    # torchvision scales in two steps: a byte may differ by 1 where its rounding falls on the boundary
    assert np.abs(theirs - mine[0]).max() <= 1
    assert (theirs != mine[0]).mean() < 0.02


def test_every_byte_comes_back() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    assert np.array_equal(images.to_bytes(images.from_bytes(every)), every)


def test_a_grid_holds_its_pictures(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(1, 256, (7, 5, 4, 3), dtype=np.uint8)
    sheet = images.grid(pictures, columns=3, pad=2)
    assert sheet.shape == (3 * 7 + 2, 3 * 6 + 2, 3)
    assert np.array_equal(sheet[9:14, 8:12], pictures[4])
    assert not sheet[:2].any()
    images.write_png(tmp_path / "g.png", sheet)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "g.png")), sheet)
    assert [p.name for p in tmp_path.iterdir()] == ["g.png"]


def test_five_channels_are_no_png(tmp_path: Path) -> None:
    with pytest.raises(GanExportError, match="1 to 4 channels, these images have 5"):
        images.write_png(tmp_path / "g.png", np.zeros((4, 4, 5), np.uint8))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_holds_every_channel(tmp_path: Path, channels: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    images.write_png(tmp_path / "g.png", picture)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "g.png")).reshape(picture.shape), picture)
