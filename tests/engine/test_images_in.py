"""The engine on generators that take images: every layer of theirs at every level, sizes, and refusals."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_export import images as bytes_of
from gan_export import latents
from gan_export.errors import GanExportError
from gan_export.exporters.gan_file import PortEntry, Record
from gan_export.exporters.gan_file import encode as encode_file
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
    Dropout,
    InstanceNorm,
    Pad,
    PixelShuffle,
    PixelUnshuffle,
    PReLU,
    Scale,
    Upsample,
)
from gan_export.graph.ports import Port, Size, Uniform
from gan_export.graph.signature import Signature
from gan_export.graph.spec import Chain, GeneratorSpec
from gan_export.graph.torch_module import build_module
from gan_export.runtimes.native import Model

from .conftest import Write, random_weights
from .mutate import reseal
from .test_engine import LEVELS, opened

CLOSE = 2e-5


def spec_of(
    chain: Chain, channels: tuple[int, int], size: Size, scale: int = 1, beside: Sequence[Port] = ()
) -> GeneratorSpec:
    """From `input` of free height and width, and what is `beside` it, to an image `scale` times as large."""
    sides = ("H", "W") if scale == 1 else (f"H*{scale}", f"W*{scale}")
    given = Port("input", "image", (channels[0], "H", "W"), range=(0.0, 1.0))
    image = Port("image", "image", (channels[1], *sides), range=(0.0, 1.0))
    return GeneratorSpec("test", Signature((given, *beside), (image,), {"H": size, "W": size}), tuple(chain))


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


def _dense() -> GeneratorSpec:
    """Return a network with what SRVGG and RRDB have: PReLU, concatenations, scaled sums, an output of few channels.

    The engine reads some concatenations in parts, and copies those that two layers read or that begin with 5 channels.
    """
    c = Chain("input")
    x = c.add(Conv, "first", in_channels=3, out_channels=32, kernel=3, padding=1)
    c.add(Conv, "second", in_channels=32, out_channels=16, kernel=3, padding=1)
    y = c.add(PReLU, "slopes", slopes=16)
    c.add(Concat, "two", inputs=(x, y))
    c.add(Conv, "third", in_channels=48, out_channels=5, kernel=3, padding=1)
    z = c.add(PReLU, "few", slopes=5)
    c.add(Concat, "three", inputs=(x, y, z))
    w = c.add(Conv, "fourth", in_channels=53, out_channels=32, kernel=3, padding=1)
    c.add(Concat, "five", inputs=(z, x))
    v = c.add(Conv, "fifth", in_channels=37, out_channels=32, kernel=3, padding=1)
    both = c.add(Concat, "both", inputs=(v, w))
    c.add(Conv, "sixth", in_channels=64, out_channels=32, kernel=3, padding=1)
    c.add(Scale, "fifth part", factor=0.2, offset=0.0)
    c.add(Add, "sum", inputs=(c.last, x))
    c.add(Concat, "all", inputs=(c.last, both))
    c.add(Conv, "narrow", in_channels=96, out_channels=12, kernel=3, padding=1)
    shuffled = c.add(PixelShuffle, "unfold", factor=2)
    enlarged = c.add(Upsample, "enlarged", inputs=("input",), factor=2, mode="nearest")
    c.add(Add, "image", inputs=(shuffled, enlarged))
    return spec_of(c, (3, 3), Size(2, 2, 512), scale=2)


def _sums() -> GeneratorSpec:
    """Return a network of sums of which one input is enlarged; the engine adds it as it enlarges it."""
    c = Chain("input")
    small = c.add(Conv, "small", in_channels=3, out_channels=20, kernel=3, padding=1)
    large = c.add(ConvTranspose, "large", in_channels=20, out_channels=20, kernel=4, stride=2, padding=1)
    bilinear = c.add(Upsample, "bilinear", inputs=(small,), factor=2, mode="bilinear")
    c.add(Add, "first", inputs=(large, bilinear))
    nearest = c.add(Upsample, "nearest", inputs=(small,), factor=2, mode="nearest")
    c.add(Add, "second", inputs=(nearest, c.last))
    x = c.add(Scale, "half", factor=0.5, offset=0.0)
    smooth = c.add(Upsample, "smooth", inputs=(small,), factor=2, mode="bilinear")
    c.add(Add, "third", inputs=(x, smooth))
    narrow = c.add(Conv, "narrow", in_channels=20, out_channels=3, kernel=3, padding=1)
    beside = c.add(Upsample, "beside", inputs=("input",), factor=2, mode="nearest")
    c.add(Add, "fourth", inputs=(narrow, beside))
    under = c.add(Upsample, "under", inputs=("input",), factor=2, mode="bilinear")
    c.add(Add, "image", inputs=(c.last, under))
    return spec_of(c, (3, 3), Size(2, 1, 512), scale=2)


TAKEN = {"translator": _translator(), "upscaler": _upscaler(), "dense": _dense(), "sums": _sums()}


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


def dropped() -> GeneratorSpec:
    """Two dropouts, of half and of a quarter of the values, at two scales of the image."""
    c = Chain("input")
    c.add(Conv, "first", in_channels=1, out_channels=5, kernel=3, padding=1)
    c.add(Dropout, "drop", inputs=(c.last, "dropout0"), rate=0.5)
    c.add(Conv, "down", in_channels=5, out_channels=19, kernel=4, stride=2, padding=1)
    c.add(Dropout, "rarely", inputs=(c.last, "dropout1"), rate=0.25)
    c.add(ConvTranspose, "up", in_channels=19, out_channels=1, kernel=4, stride=2, padding=1)
    masks = [
        Port(
            f"dropout{k}", "noise", (n, *sides), prior=Uniform(0.0, 1.0), stream=latents.STREAM_DROPOUT[k],
        )
        for k, (n, *sides) in enumerate(((5, "H", "W"), (19, "H/2", "W/2")))
    ]  # fmt: skip
    return spec_of(c, (1, 1), Size(4, 2, 4096), beside=masks)


@pytest.mark.parametrize("level", LEVELS)
def test_dropout_takes_its_numbers_or_those_of_the_seed(
    level: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = dropped()
    weights = random_weights(spec)
    module = build_module(spec, weights)
    with opened(write(spec, weights), level, monkeypatch) as model:
        for height, width in ((6, 10), (4, 300), (6, 10)):
            given = of(spec, 3, height, width)
            feeds = spec.signature.feeds(5, [7, 8, 9], input=given)
            with torch.inference_mode():
                want = module(*(torch.from_numpy(feeds[p.name]) for p in spec.signature.inputs)).numpy()
            noise = np.concatenate([feeds[f"dropout{k}"].reshape(3, -1) for k in (0, 1)], 1)
            for threads in (1, 3):
                got = model.apply_floats(given, noise=noise, threads=threads)
                assert np.abs(got - want).max() <= CLOSE * np.abs(want).max()
                assert np.array_equal(model.apply_floats(given, seed=5, start=7, threads=threads), got)
            assert np.array_equal(model.apply_floats(given[1:], seed=5, start=8), got[1:])
            assert not np.array_equal(model.apply_floats(given, seed=6, start=7), got)
            with pytest.raises(GanExportError, match=f"noise has {noise.size - 1} numbers: 3 images need"):
                model.apply(given, noise=noise.ravel()[1:])
        with pytest.raises(GanExportError, match="indices are 0 to"):
            model.apply(np.zeros((2, 4, 4, 1), np.uint8), start=2**64 - 1)


def test_a_mask_goes_into_a_dropout_alone(write: Write, tmp_path: Path) -> None:
    """A layer that reads one as a value, a dropout that reads a value as one, and shapes that the mask doesn't have."""
    spec = dropped()
    path = write(spec, random_weights(spec))
    data = path.read_bytes()
    ports = 144 + 192  # the first mask's row; the layers follow 4 rows of ports and 2 of sizes
    records = 144 + 4 * 192 + 2 * 32
    first = struct.unpack_from("<I", data, records)[0]  # size of the first record: its input comes 24 bytes in
    for at, number, why in (
        (records + 24, 1, "can't run"),  # a convolution of a mask
        (records + first + 24 + 4, 3, "can't run"),  # a dropout by the first convolution's values
        (records + first + 24 + 4, 2, "don't go with the size"),  # by the other mask
        (ports + 16 + 12, 2, "noise of a type, shape, prior or stream"),  # its height by the image's width
        (ports + 16 + 12 + 8, 3, "noise of a type, shape"),  # a third of the height, which is 4
        (ports + 100, 0x40000000, "noise of a type, shape"),  # numbers up to 2
        (ports + 108, 16, "noise of a type, shape"),
    ):
        changed = bytearray(data)
        struct.pack_into("<I", changed, at, number)
        path.write_bytes(reseal(changed))
        with pytest.raises(GanExportError, match=why):
            Model(path)


def test_more_inputs_than_the_engine_takes_are_refused(tmp_path: Path) -> None:
    scalars = [PortEntry(f"s{i}", "scalar") for i in range(64)]
    latent = PortEntry("z", "latent", ((0, 1, 1),), prior=("normal", 0.0, 0.0))
    image = PortEntry("image", "image", ((0, 1, 1),) * 3, output=True, value=65)
    path = tmp_path / "many.gan"
    path.write_bytes(encode_file((latent, *scalars, image), [Record(5, "relu", [0], integers={"kind": (1,)})]))
    with pytest.raises(GanExportError, match="more than 64 inputs"):
        Model(path)


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
