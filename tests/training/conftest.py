from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.common import gan_train, tiny_recipe


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 small pictures of bright squares on black, as PNG files."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for i in range(100):
        pixels = np.zeros((32, 32), np.uint8)
        y, x = random.integers(4, 18, 2)
        pixels[y : y + 10, x : x + 10] = 255
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A run of 2 epochs of 7 steps that was never interrupted."""
    folder = tmp_path_factory.mktemp("finished")
    result = gan_train(tiny_recipe(folder, pictures), "-o", "run", "--seed", 5, cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "run"
