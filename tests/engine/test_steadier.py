"""A generator whose weights are large: its .gan file says how much a transform may round."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_export.bench.models import find, write_checkpoint
from gan_export.errors import GanExportError
from gan_export.runtimes.native import Model
from tests.conftest import Command

from .mutate import reseal


@pytest.fixture
def strong(tmp_path: Path) -> Path:
    """The classic generator with kernels twice as large: most of its values end near -1 and 1."""
    path = tmp_path / "strong.pth"
    write_checkpoint(find("classic"), path)
    weights = torch.load(path, weights_only=True)
    torch.save({name: w * 2 if w.ndim == 4 else w for name, w in weights.items()}, path)
    return path


def _header(path: Path) -> tuple[int, float]:
    """Version, and error budget."""
    data = path.read_bytes()
    return struct.unpack_from("<I", data, 8)[0], struct.unpack_from("<f", data, 80)[0]


@pytest.mark.long
def test_it_is_exported_with_smaller_transforms(command: Command, strong: Path, tmp_path: Path) -> None:
    done = command("gan-export", "native", strong, "-o", tmp_path / "strong.gan")
    assert done.code == 0, done.err
    version, budget = _header(tmp_path / "strong.gan")
    assert version == 3
    assert 1.9e-6 < budget < 6.1e-6  # a float32 in the file
    assert f"a rounding error of at most {budget:g}" in done.out
    assert command("gan-export", "verify", tmp_path / "strong.gan", strong).code == 0
    assert f"error_budget {budget:g}" in command("gan-export", "inspect", tmp_path / "strong.gan").out


@pytest.mark.long
def test_any_other_has_no_budget(command: Command, tmp_path: Path) -> None:
    write_checkpoint(find("classic"), tmp_path / "g.pth")
    assert command("gan-export", "native", tmp_path / "g.pth", "-o", tmp_path / "g.gan").code == 0
    assert _header(tmp_path / "g.gan") == (3, 0)


@pytest.mark.long
def test_the_engine_keeps_to_it(command: Command, strong: Path, tmp_path: Path) -> None:
    """A file that is held to no transforms needs the memory of one that is drawn alone, and draws the same."""
    assert command("gan-export", "native", strong, "-o", tmp_path / "strong.gan").code == 0
    data = bytearray((tmp_path / "strong.gan").read_bytes())
    pictures, sizes = [], []
    for budget in (1e-5, 6e-6, 2e-6):
        struct.pack_into("<f", data, 80, budget)
        (tmp_path / "held.gan").write_bytes(reseal(bytearray(data)))
        with Model(tmp_path / "held.gan") as model:
            pictures.append(model.generate_floats(7, 64, threads=1))
            sizes.append(model.memory(64, threads=1)[1])
    assert sizes[0] > sizes[1] > sizes[2]
    for other in pictures[1:]:
        np.testing.assert_allclose(pictures[0], other, atol=2e-4)
        assert (pictures[0] != other).any()


@pytest.mark.parametrize(
    ("version", "points", "message"), [(2, 1, "changed since"), (4, 4, "version 4: this library reads up to 3")]
)
def test_what_it_can_not_mean_is_refused(version: int, points: int, message: str, tmp_path: Path) -> None:
    known = next((Path(__file__).parents[2] / "engine" / "tests" / "known").glob("*.gan"))
    data = bytearray(known.read_bytes())
    struct.pack_into("<I", data, 8, version)
    struct.pack_into("<I", data, 92, points)
    (tmp_path / "odd.gan").write_bytes(reseal(data))
    with pytest.raises(GanExportError, match=message):
        Model(tmp_path / "odd.gan")
