"""Images decoded batch by batch: the same run as from memory, and a batch that is expected is decoded meanwhile."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_export.errors import GanExportError
from gan_export.training import data, recipe
from tests.training.common import tiny_recipe, train_here


def test_decoding_batch_by_batch_changes_no_bit(tmp_path: Path, pictures: Path) -> None:
    recipe = tiny_recipe(tmp_path, pictures)
    train_here(recipe, tmp_path / "kept")
    train_here(recipe, tmp_path / "decoded", "data.memory=0")
    for name in ("generator_2.pth", "discriminator_2.pth"):
        assert (tmp_path / "kept" / name).read_bytes() == (tmp_path / "decoded" / name).read_bytes()


def test_an_expected_batch_is_decoded_before_it_is_read(tmp_path: Path) -> None:
    """It is read after its files have gone; a batch that nobody expected can't be."""
    for i in range(4):
        Image.fromarray(np.full((40, 40), i, np.uint8)).save(tmp_path / f"{i}.png")
    source = data.open_source(recipe.Data(source="folder", path=str(tmp_path), memory=0), None)
    expected = np.array([2, 0])
    source.expect(expected)
    time.sleep(5)
    for file in tmp_path.glob("*.png"):
        file.unlink()
    assert source.read(expected).mean((1, 2, 3)).tolist() == [2, 0]
    with pytest.raises(GanExportError, match=r"3\.png can't be read any more"):
        source.read(np.array([3]))
