"""Volumes and signals in a `.gan` file: exported, opened without torch, refused when they don't fit."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import gan_export
from gan_export.errors import GanExportError
from gan_export.exporters import gan_file
from gan_export.exporters.gan_file import PortEntry, Record, TensorEntry
from gan_export.exporters.native import encode
from gan_export.graph.layers import ConvTransposeNd, UpsampleNd
from gan_export.runtimes.native import Model
from tests.conftest import Command
from tests.originals.volumes import Layers

from . import volumes
from .conftest import Write, random_weights


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A 3D-GAN of 32 a side, and what it makes of the first two latents of seed 0."""
    torch.manual_seed(1)
    path = tmp_path / "g.pth"
    model = Layers(4, 32, bias=False).eval()
    for conv in model.modules():
        if isinstance(conv, torch.nn.ConvTranspose3d):  # 8 taps a voxel: what it makes then varies
            torch.nn.init.normal_(conv.weight, std=(2 / (8 * conv.in_channels)) ** 0.5)
    torch.save(model.state_dict(), path)
    with torch.inference_mode():
        made = model(torch.from_numpy(gan_export.latents.draw(0, 0, 2, 12))).numpy()
    np.save(tmp_path / "made.npy", made)
    return path


@pytest.mark.long
def test_a_checkpoint_is_exported_verified_and_opened_without_torch(
    checkpoint: Path, command: Command, tmp_path: Path
) -> None:
    target = tmp_path / "g.gan"
    done = command("gan-export", "native", checkpoint, "-o", target, "--image-size", 32)
    assert done.code == 0, done
    program = (
        "import sys, gan_export, numpy as np\n"
        f"g = gan_export.open({str(target)!r})\n"
        "made = g.generate(g.signature.feeds(0, [0, 1])['z'])\n"
        "assert 'torch' not in sys.modules\n"
        f"np.save({str(tmp_path / 'native.npy')!r}, made)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    got, want = np.load(tmp_path / "native.npy"), np.load(tmp_path / "made.npy")
    assert got.shape == want.shape == (2, 1, 32, 32, 32)
    assert want.std() > 0.01
    assert np.abs(got - want).max() < 1e-5


@pytest.mark.parametrize(
    ("name", "kind", "image"), [("volume", "volume", (1, 16, 16, 16)), ("signal", "audio", (1, 160))]
)
def test_a_model_says_what_it_makes(name: str, kind: str, image: tuple[int, ...], write: Write) -> None:
    spec = volumes.SPECS[name]
    with Model(write(spec, random_weights(spec))) as model:
        assert (model.kind, model.image) == (kind, image)
        assert model.generate(1, 3).shape == (3, *image[1:], image[0])
        assert model.generate_floats(1, 3).shape == (3, *image)


def test_what_the_format_can_not_state_is_refused_by_name() -> None:
    spec = volumes.volume()
    uneven = dataclasses.replace(spec.layers[3], kernel=(2, 4, 4), padding=(0, 1, 1))
    assert isinstance(uneven, ConvTransposeNd)
    odd = dataclasses.replace(spec, layers=(*spec.layers[:3], uneven, *spec.layers[4:]))
    with pytest.raises(GanExportError, match=r"layer up1 \(ConvTransposeNd\): kernel \(2, 4, 4\); it must be the same"):
        encode(odd, random_weights(spec))
    linear = volumes.odd_volume()
    layers = tuple(dataclasses.replace(x, mode="linear") if isinstance(x, UpsampleNd) else x for x in linear.layers)
    with pytest.raises(GanExportError, match=r"layer grow \(UpsampleNd\): mode linear; only nearest"):
        encode(dataclasses.replace(linear, layers=layers), random_weights(linear))


def _ports(*sides: int, kind: str = "volume", value: int = 2) -> tuple[PortEntry, ...]:
    z = PortEntry("z", "latent", ((0, 8, 1),), prior=("normal", 0.0, 0.0))
    return z, PortEntry(kind, kind, tuple((0, n, 1) for n in sides), output=True, value=value)


def _to_volume(*sides: int) -> Record:
    keys = ("channels", "depth", "height", "width")
    return Record(73, "grid", (0,), (), {key: (n,) for key, n in zip(keys, sides, strict=True)})


def _grow(factor: int) -> Record:
    return Record(72, "grow", (1,), (), {"factor": (factor,)})


def _convolution(operation: int, channels: int, kernel: int, rank: int) -> Record:
    settings = {"in": channels, "out": 1, "kernel": kernel, "stride": 1, "padding": 0}
    shape = (1, channels, *(kernel,) * rank)
    weight = TensorEntry("weight", "float32", shape, bytes(4 * int(np.prod(shape))))
    return Record(operation, "conv", (1,), (weight,), {key: (n,) for key, n in settings.items()})


REFUSED = {
    "a volume that isn't what its port says": (_ports(1, 4, 4, 2), [_to_volume(1, 2, 2, 2), _grow(2)], "changed since"),
    "an image of a volume": (_ports(1, 4, 4, kind="image"), [_to_volume(1, 2, 2, 2), _grow(2)], "changed since"),
    "a port of three dimensions": (_ports(1, 4, 4), [_to_volume(1, 2, 2, 2), _grow(2)], "this library"),
    "a factor": (_ports(1, 130, 130, 130), [_to_volume(1, 2, 2, 2), _grow(65)], "factor 65, at most 64"),
    "more numbers than a value has": (_ports(8, 64, 64, 64), [_to_volume(8, 1, 1, 1), _grow(64), _grow(64)], "size of"),
    "numbers that don't match": (_ports(1, 4, 4, 6), [_to_volume(1, 2, 2, 3), _grow(2)], "layer 0 grid .RESHAPE_3D."),
    "an image's convolution": (_ports(1, 2, 2, 2), [_to_volume(1, 2, 2, 2), _convolution(3, 1, 1, 2)], "layer 1 conv"),
    "a signal's convolution": (_ports(1, 2, 2, 2), [_to_volume(1, 2, 2, 2), _convolution(81, 1, 1, 1)], "CONV_1D"),
    "a kernel that doesn't fit": (_ports(1, 1, 1, 1), [_to_volume(1, 2, 2, 2), _convolution(71, 1, 3, 3)], "CONV_3D"),
    "a weight of a rank too few": (_ports(1, 2, 2, 2), [_to_volume(1, 2, 2, 2), _convolution(71, 1, 1, 2)], "changed"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_files_that_contradict_themselves_are_refused(what: str, tmp_path: Path) -> None:
    ports, records, said = REFUSED[what]
    path = tmp_path / "odd.gan"
    last = dataclasses.replace(ports[1], value=len(records))
    chain = [dataclasses.replace(record, inputs=(i,)) for i, record in enumerate(records)]
    path.write_bytes(gan_file.encode((ports[0], last), chain))
    with pytest.raises(GanExportError, match=said):
        Model(path)


def test_memory_is_bounded(write: Write) -> None:
    spec = volumes.volume()
    path = write(spec, random_weights(spec))
    with Model(path, max_memory=1 << 20) as model:
        assert sum(model.memory(64, threads=1)) <= 1 << 20
        assert model.generate(1, 9, threads=1).shape == (9, 16, 16, 16, 1)
    with Model(path, max_memory=1 << 12) as model, pytest.raises(GanExportError, match="at most 4096 are allowed"):
        model.generate(1)
