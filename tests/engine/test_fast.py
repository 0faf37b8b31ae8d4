"""16-bit arithmetic through the commands: chosen and proven at export, recorded, compared by PSNR."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_export.checkpoint import read
from gan_export.exporters import native_ranges
from gan_export.exporters.base import Options
from gan_export.exporters.native import NATIVE
from gan_export.graph.layers import Conv, ConvTranspose
from gan_export.graph.lower import lower
from gan_export.runtimes.native import Model
from tests.conftest import Command
from tests.originals import images_in
from tests.originals.style import nvlabs, r3gan


def _generator(path: Path, scale: float = 1.0) -> Path:
    """A DCGAN of 16x16 images, 32 and 16 channels wide."""
    rng = torch.Generator().manual_seed(3)

    def weight(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng) * scale * (2.0 / (shape[0] * 4)) ** 0.5

    torch.save(
        {
            "main.0.weight": weight(16, 32, 4, 4),
            "main.2.weight": weight(32, 16, 4, 4),
            "main.4.weight": weight(16, 1, 4, 4) * 0.5,
        },
        path,
    )
    return path


def _levels() -> list[str]:
    return [level for level in ("generic", "avx2", "avx512", "avx512vnni") if _runs(level)]


def _runs(level: str) -> bool:
    known = next((Path(__file__).parents[2] / "engine" / "tests" / "known").glob("*.gan"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_CPU", level)
        try:
            Model(known).close()
        except Exception:
            return False
    return True


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    square = float(np.mean((a.astype(float) - b) ** 2))
    return 10 * np.log10(255**2 / square) if square else np.inf


def test_a_fast_export_is_proven_recorded_and_near(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = _generator(tmp_path / "g.pth")
    exact = command("gan-export", "native", checkpoint, "-o", tmp_path / "exact.gan")
    fast = command("gan-export", "native", checkpoint, "-o", tmp_path / "fast.gan", "--arithmetic", "fast")
    assert exact.code == 0 == fast.code, exact.err + fast.err
    assert "cost of 16-bit products" in fast.out
    assert struct.unpack_from("<I", (tmp_path / "fast.gan").read_bytes(), 84) == (6,)
    found = {}
    for level in _levels():
        monkeypatch.setenv("GAN_CPU", level)
        with Model(tmp_path / "exact.gan") as model:
            assert model.arithmetic == "float32"
            wanted = model.generate(5, 40, threads=1)
        with Model(tmp_path / "fast.gan") as model:
            assert model.arithmetic == "int16"
            found[level] = model.generate(5, 40, threads=1)
            np.testing.assert_array_equal(found[level][7:], model.generate(5, 40, start=7, threads=1)[:-7])
        assert 45 < _psnr(found[level], wanted) < 100, level
    assert all(_psnr(found["generic"], other) > 50 for other in found.values())
    monkeypatch.delenv("GAN_CPU")
    assert command("gan-export", "verify", tmp_path / "fast.gan").code == 0
    # a dataset says so, and is checked by PSNR on a processor with other instructions
    made = command("gan-sample", "dataset", tmp_path / "fast.gan", "-n", "8", "--format", "raw", "-o", tmp_path / "set")
    assert made.code == 0, made.err
    job = json.loads((tmp_path / "set" / "MANIFEST.json").read_text())["job"]
    assert job["arithmetic"] == "int16"
    monkeypatch.setenv("GAN_CPU", "generic")
    assert command("gan-sample", "check", tmp_path / "set", "-g", tmp_path / "fast.gan").code == 0


@pytest.mark.long
def test_plain_products_are_fast_too(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R3GAN's convolutions are 1x1, or in groups, which are computed in float32."""
    torch.manual_seed(0)
    model = nvlabs.random_everything(r3gan.Generator(8, [32, 32, 40], [4, 4, 5], [1, 1, 1]))
    torch.save(model.state_dict(), tmp_path / "g.pth")
    for name, arithmetic in (("exact", "float32"), ("fast", "fast")):
        arguments = ("-o", tmp_path / f"{name}.gan", "--arithmetic", arithmetic)
        done = command("gan-export", "native", tmp_path / "g.pth", *arguments)
        assert done.code == 0, done.err
    for level in _levels():
        monkeypatch.setenv("GAN_CPU", level)
        with Model(tmp_path / "exact.gan") as exact, Model(tmp_path / "fast.gan") as fast:
            assert fast.arithmetic == "int16"
            assert 45 < _psnr(fast.generate(5, 8, threads=1), exact.generate(5, 8, threads=1)) < 100, level


def _compact() -> torch.nn.Module:
    model = images_in.Srvgg(16, 8)
    for layer in model.body:
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    return model


def _halving() -> torch.nn.Module:
    """Return a network whose convolutions of stride 2 have 3 x 3 kernels."""
    return images_in.JunyanzResnet(16, blocks=2)


@pytest.mark.long
@pytest.mark.parametrize("make", [_compact, _halving])
def test_noise_stays_within_the_ranges_that_an_image_network_keeps(
    make: Callable[[], torch.nn.Module], tmp_path: Path
) -> None:
    """Ranges of smooth images alone would clip the values that noise gives: 27 dB with the compact network."""
    torch.manual_seed(0)
    torch.save(make().state_dict(), tmp_path / "g.pth")
    checkpoint = read(tmp_path / "g.pth")
    NATIVE.write(checkpoint, tmp_path / "exact.gan", Options())
    NATIVE.write(checkpoint, tmp_path / "fast.gan", Options(arithmetic="fast"))  # without the minute of its proof
    noise = np.random.default_rng(1).integers(0, 2, (2, 3, 48, 60)).astype(np.float32)
    with Model(tmp_path / "exact.gan") as exact, Model(tmp_path / "fast.gan") as fast:
        assert fast.arithmetic == "int16"
        want = exact.apply_floats(noise, threads=1)
        error = fast.apply_floats(noise, threads=1) - want
    assert 20 * np.log10((want.max() - want.min()) / np.sqrt(np.mean(error**2))) > 60


def test_every_convolution_behind_an_image_has_ranges(tmp_path: Path) -> None:
    """Also that which reads one pixel; a latent is one too, but rounding it would cost whole images."""
    torch.save(images_in.randomized(images_in.JunyanzUnet(8, 7)).state_dict(), tmp_path / "unet.pth")
    convolutions = {}
    for path in (tmp_path / "unet.pth", _generator(tmp_path / "dcgan.pth")):
        checkpoint = read(path)
        spec, weights = lower(checkpoint.spec, checkpoint.weights)
        ranges = native_ranges.measure(spec, weights)
        names = [layer.name for layer in spec.layers if isinstance(layer, Conv | ConvTranspose)]
        convolutions[path.stem] = [name in ranges for name in names]
    assert convolutions["unet"] == [True] * 14
    assert convolutions["dcgan"] == [False, True, True]


def test_what_has_no_such_layer_or_value_is_refused(command: Command, tmp_path: Path) -> None:
    checkpoint = _generator(tmp_path / "g.pth")
    other = command("gan-export", "native", checkpoint, "--arithmetic", "int4")
    assert (other.code, "it is float32 or fast" in other.err) == (2, True)
    onnx = command("gan-export", "onnx", checkpoint, "--arithmetic", "fast")
    assert (onnx.code, "onnx has no option arithmetic" in onnx.err) == (2, True)
