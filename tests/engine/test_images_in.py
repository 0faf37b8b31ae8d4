"""The engine on generators that take images: every layer of theirs at every level, sizes, and refusals."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_export import images as bytes_of
from gan_export.errors import GanExportError
from gan_export.exporters.native import encode
from gan_export.graph.layers import (
    Activation,
    Add,
    BlurDown,
    BlurUp,
    Clamp,
    Concat,
    Conv,
    ConvTranspose,
    InstanceNorm,
    Pad,
    PixelShuffle,
    PixelUnshuffle,
    PReLU,
    Upsample,
)
from gan_export.graph.ports import Port, Size
from gan_export.graph.signature import Signature
from gan_export.graph.spec import Chain, GeneratorSpec
from gan_export.graph.torch_module import build_module
from gan_export.runtimes.native import Model

from .conftest import Write, random_weights
from .mutate import reseal
from .test_engine import LEVELS, opened

CLOSE = 2e-5


def spec_of(chain: Chain, channels: tuple[int, int], size: Size, scale: int = 1) -> GeneratorSpec:
    """From `input` of free height and width to an image `scale` times as large."""
    sides = ("H", "W") if scale == 1 else (f"H*{scale}", f"W*{scale}")
    given = Port("input", "image", (channels[0], "H", "W"), range=(0.0, 1.0))
    image = Port("image", "image", (channels[1], *sides), range=(0.0, 1.0))
    return GeneratorSpec("test", Signature((given,), (image,), {"H": size, "W": size}), tuple(chain))


def _translator() -> GeneratorSpec:
    """Every layer of the image-to-image families: down, a residual block, up, with skips."""
    c = Chain("input")
    c.add(Pad, "mirror", size=3, mode="reflect")
    c.add(Conv, "first", in_channels=3, out_channels=18, kernel=7)
    c.add(InstanceNorm, "norm", channels=18, affine=True)
    skip = c.add(Activation, "relu", kind="relu")
    c.add(Conv, "down", in_channels=18, out_channels=20, kernel=4, stride=2, padding=1)
    x = c.add(InstanceNorm, "bare", channels=20, eps=1e-3)
    c.add(Pad, "edge", size=1, mode="replicate")
    c.add(Conv, "body", in_channels=20, out_channels=20, kernel=3)
    c.add(Pad, "zeros", size=1, mode="zeros")
    c.add(Conv, "body2", in_channels=20, out_channels=20, kernel=3)
    c.add(Add, "sum", inputs=(x, c.last))
    c.add(BlurDown, "blurred", channels=20)
    c.add(BlurUp, "grown", channels=20)
    c.add(ConvTranspose, "up", in_channels=20, out_channels=18, kernel=3, stride=2, padding=1, output_padding=1)
    c.add(Concat, "skip", inputs=(c.last, skip))
    c.add(Conv, "last", in_channels=36, out_channels=1, kernel=3, padding=1)
    c.add(Activation, "sigmoid", kind="sigmoid")
    return spec_of(c, (3, 1), Size(8, 4, 4096))


def _upscaler() -> GeneratorSpec:
    c = Chain("input")
    c.add(PixelUnshuffle, "fold", factor=2)
    c.add(Conv, "first", in_channels=16, out_channels=24, kernel=3, padding=1)
    c.add(PReLU, "slopes", slopes=24)
    c.add(Upsample, "nearest", factor=2, mode="nearest")
    c.add(Conv, "wide", in_channels=24, out_channels=36, kernel=3, padding=1)
    c.add(PReLU, "slope", slopes=1)
    c.add(PixelShuffle, "unfold", factor=3)
    c.add(Clamp, "clamp", low=-0.5, high=0.75)
    return spec_of(c, (4, 4), Size(2, 2, 512), scale=3)


TAKEN = {"translator": _translator(), "upscaler": _upscaler()}


def weights_of(spec: GeneratorSpec) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Random ones, and filters that blur."""
    weights = random_weights(spec)
    for key in weights:
        if key.endswith(".filt"):
            weights[key] = (np.abs(weights[key]) / weights[key].shape[-1] ** 2).astype(np.float32)
    return weights


def of(spec: GeneratorSpec, count: int, height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    shape = (count, spec.signature.inputs[0].shape[0], height, width)
    return np.random.default_rng(height).random(shape, np.float32)  # type: ignore[arg-type]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", TAKEN)
def test_images_are_those_of_the_interpreter(
    name: str, level: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = TAKEN[name]
    weights = weights_of(spec)
    module = build_module(spec, weights)
    with opened(write(spec, weights), level, monkeypatch) as model:
        assert (model.cpu, model.channels, model.nz) == (level, spec.signature.inputs[0].shape[0], 0)
        for height, width in ((8, 8), (20, 36), (100, 8), (8, 8)):
            given = of(spec, 3, height, width)
            with torch.inference_mode():
                want = module(torch.from_numpy(given)).numpy()
            for threads in (1, 3):
                got = model.apply_floats(given, threads=threads)
                assert np.abs(got - want).max() <= CLOSE * max(1.0, np.abs(want).max())
            assert np.array_equal(model.apply_floats(given[1:2], threads=3), got[1:2])  # an image by itself: the same
            raw = np.rint(given * 255).astype(np.uint8).transpose(0, 2, 3, 1).copy()
            with torch.inference_mode():
                exact = module(torch.from_numpy(raw.transpose(0, 3, 1, 2) / np.float32(255))).numpy()
            made = model.apply(raw).astype(int)
            off = np.abs(made - bytes_of.levels(exact, (0.0, 1.0)).transpose(0, 2, 3, 1))
            assert off.max() <= 1
            assert (off != 0).mean() <= 2e-3


def test_sizes_and_calls_that_are_refused(write: Write, tmp_path: Path) -> None:
    spec = TAKEN["translator"]
    with Model(write(spec, weights_of(spec))) as model:
        assert (model.least, model.fixed) == ((8, 8), None)
        for height, width in ((4, 8), (8, 10), (8, 4100)):
            with pytest.raises(GanExportError, match=f"images of {width} x {height}: .* doesn't take this size"):
                model.apply(np.zeros((1, height, width, 3), np.uint8))
        for wrong in (np.zeros((1, 8, 8, 4), np.uint8), np.zeros((1, 8, 8, 3)), np.zeros((8, 8, 3), np.uint8)):
            with pytest.raises(GanExportError, match="this model takes"):
                model.apply(wrong)
        with pytest.raises(GanExportError, match="the model takes images"):
            model.generate(1, 1)
        with pytest.raises(GanExportError, match="out is"):
            model.apply(np.zeros((1, 8, 8, 3), np.uint8), out=np.zeros((1, 8, 8, 2), np.uint8))


def test_memory_is_bounded_and_a_smaller_image_still_goes_through(write: Write) -> None:
    spec = TAKEN["translator"]
    with Model(write(spec, weights_of(spec)), max_memory=3 << 20) as model:
        small = of(spec, 1, 16, 16)
        first = model.apply_floats(small, threads=1)
        with pytest.raises(GanExportError, match="memory"):
            model.apply_floats(of(spec, 1, 512, 512), threads=1)
        assert np.abs(model.apply_floats(small, threads=1) - first).max() <= CLOSE


def test_a_size_of_a_file_is_checked(write: Write, tmp_path: Path) -> None:
    """Its table of sizes: least, multiple, most and 0, 16 bytes into each row."""
    data = write(TAKEN["upscaler"], weights_of(TAKEN["upscaler"])).read_bytes()
    table = 144 + 2 * 192
    assert struct.unpack_from("<16s4I", data, table) == (b"H".ljust(16, b"\0"), 2, 2, 512, 0)
    path = tmp_path / "changed.gan"
    for offset, number in ((0, 0), (16, 0), (16, 3), (20, 0), (20, 4), (24, 1), (28, 1)):
        changed = bytearray(data)
        struct.pack_into("<I", changed, table + offset, number)
        path.write_bytes(reseal(changed))
        with pytest.raises(GanExportError, match="cut short or was changed"):
            Model(path)
    for dim, number in ((0, 3), (8, 0), (8, 2), (4, 2)):  # of the input's height: symbol, divisor, multiplier
        changed = bytearray(data)
        struct.pack_into("<I", changed, 144 + 16 + 12 + dim, number)
        path.write_bytes(reseal(changed))
        with pytest.raises(GanExportError, match=r"changed|can't run"):
            Model(path)


def test_a_size_that_a_layer_cannot_have_is_refused(write: Write) -> None:
    """The signature allows 2 x 2, of which 3 pixels can't be mirrored."""
    c = Chain("input")
    c.add(Upsample, "grow", factor=3)
    c.add(Pad, "mirror", size=5, mode="reflect")
    c.add(Conv, "conv", in_channels=1, out_channels=1, kernel=11)
    spec = spec_of(c, (1, 1), Size(2, 1, 64), scale=3)
    with Model(write(spec, random_weights(spec))) as model:
        assert model.apply(np.zeros((1, 2, 3, 1), np.uint8)).shape == (1, 6, 9, 1)
    c = Chain("input")
    c.add(Pad, "mirror", size=3, mode="reflect")
    c.add(Conv, "conv", in_channels=1, out_channels=1, kernel=7)
    whole = spec_of(c, (1, 1), Size(4, 1, 64))
    data = bytearray(encode(whole, random_weights(whole)))
    struct.pack_into("<I", data, 144 + 2 * 192 + 16, 2)
    path = write(whole, random_weights(whole))
    path.write_bytes(reseal(data))
    with pytest.raises(GanExportError, match=r"layer 0 mirror \(PAD\): its attributes"):
        Model(path)
