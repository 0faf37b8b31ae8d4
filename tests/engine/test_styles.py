"""The engine on style-based generators: every layer of theirs at every level, joined and apart, and refusals."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_export import latents
from gan_export.errors import GanExportError
from gan_export.exporters.native import encode
from gan_export.graph.layers import (
    Activation,
    AddNoise,
    AddPlane,
    Attend,
    AvgPool,
    ChannelBias,
    Channels,
    Clamp,
    Conv,
    ConvTranspose,
    Demodulate,
    GroupedConv,
    GroupedConvTranspose,
    Linear,
    MaxPool,
    ModulatedConstant,
    PixelNorm,
    Row,
    Rows,
    ScaleChannels,
    ShiftChannels,
    Truncate,
)
from gan_export.graph.ports import Normal, Port
from gan_export.graph.signature import Signature
from gan_export.graph.spec import Chain, GeneratorSpec
from gan_export.graph.torch_module import build_module
from gan_export.runtimes.native import NATIVE, Model

from .conftest import Weights, Write, random_weights
from .mutate import reseal
from .test_engine import LEVELS, opened
from .test_hostile import with_attribute

CLOSE = 1e-4  # attention multiplies rounding errors; what is wrong differs by 0.1 and more


def _synthesis() -> GeneratorSpec:
    """A constant, two styled convolutions of which one doubles the size, and every layer by itself."""
    c = Chain()
    c.add(PixelNorm, "norm")
    w = c.add(Linear, "map", in_features=12, out_features=21)
    style = c.add(Linear, "style0", inputs=(w,), in_features=21, out_features=18)
    c.add(ModulatedConstant, "constant", inputs=(style,), shape=(18, 3, 5))
    x = c.add(Conv, "conv0", in_channels=18, out_channels=37, kernel=3, padding=1, bias=False)
    c.add(Demodulate, "demod0", inputs=(style,), in_features=18, out_features=37)
    c.add(ScaleChannels, "out0", inputs=(x, "demod0"))
    c.add(AddPlane, "plane0", height=3, width=5)
    c.add(ChannelBias, "bias0", channels=37)
    c.add(Activation, "act0", kind="leaky_relu", slope=0.2)
    x = c.add(Clamp, "clamp0", low=-1.0, high=1.5)
    style = c.add(Linear, "style1", inputs=(w,), in_features=21, out_features=37)
    c.add(ScaleChannels, "in1", inputs=(x, style))
    c.add(ConvTranspose, "conv1", in_channels=37, out_channels=17, kernel=3, stride=2, bias=False)
    x = c.add(GroupedConv, "blur1", in_channels=17, out_channels=17, kernel=4, groups=17, padding=1)
    c.add(Demodulate, "demod1", inputs=(style,), in_features=37, out_features=17)
    c.add(ScaleChannels, "out1", inputs=(x, "demod1"))
    x = c.add(ChannelBias, "bias1", channels=17)
    c.add(Linear, "shift1", inputs=(w,), in_features=21, out_features=17)
    c.add(ShiftChannels, "shifted1", inputs=(x, "shift1"))
    c.add(Activation, "act1", kind="relu")
    c.add(GroupedConv, "wide", in_channels=17, out_channels=17, kernel=3, groups=17, padding=4, bias=True)
    c.add(GroupedConv, "bare", in_channels=17, out_channels=17, kernel=2, groups=17)
    x = c.add(PixelNorm, "pixels", eps=1e-3)
    y = c.add(AddPlane, "plane1", height=11, width=15)
    c.add(ScaleChannels, "twice", inputs=(x, "shift1"))  # `pixels` is read twice, so that nothing is joined to it
    c.add(ScaleChannels, "again", inputs=(y, "shift1"))
    joined = c.add(Channels, "some", start=3, count=10)
    keys = c.add(MaxPool, "keys", size=2)
    c.add(AvgPool, "values", inputs=(joined,), size=1)
    values = c.add(MaxPool, "values_max", size=2)
    c.add(Attend, "attended", inputs=(joined, keys, values))
    up = c.add(GroupedConvTranspose, "up", in_channels=10, out_channels=10, kernel=4, groups=10, padding=1)
    c.add(Channels, "vector", inputs=(w,), start=4, count=10)
    c.add(ScaleChannels, "last_in", inputs=(up, "vector"))
    c.add(GroupedConv, "pairs", in_channels=10, out_channels=85, kernel=3, groups=5, padding=1)
    c.add(GroupedConv, "more", in_channels=85, out_channels=190, kernel=2, groups=5, bias=True)
    c.add(Conv, "last", in_channels=190, out_channels=3, kernel=1)
    c.add(Activation, "tanh", kind="tanh")
    return GeneratorSpec.of_latent("test", 12, "normal", (3, 21, 29), (-1.0, 1.0), tuple(c))


SPEC = _synthesis()


def weights_of(spec: GeneratorSpec, *, separable: bool) -> Weights:
    """Random ones: sums of squares, and filters that are a column times a row, or else differ by channel."""
    weights = random_weights(spec)
    taps = np.array([1.0, 3.0, 3.0, 1.0], np.float32) / 4
    for layer in spec.layers:
        key = f"{layer.name}.weight"
        if isinstance(layer, Demodulate):
            weights[key] = np.square(weights[key])
        if isinstance(layer, GroupedConv | GroupedConvTranspose):
            weights[key] /= np.float32(np.sqrt(weights[key][0].size))
        if isinstance(layer, GroupedConv) and separable and layer.in_channels == layer.out_channels == layer.groups:
            column, row = taps[: layer.kernel], -taps[::-1][: layer.kernel]
            weights[key] = np.broadcast_to(np.outer(column, row), weights[key].shape).copy()
    return weights


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("separable", [True, False])
def test_images_are_those_of_the_interpreter(
    separable: bool, level: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = weights_of(SPEC, separable=separable)
    z = latents.draw(3, 0, 5, 12, "normal")
    with torch.inference_mode():
        want = build_module(SPEC, weights)(torch.from_numpy(z)).numpy()
    with opened(write(SPEC, weights), level, monkeypatch) as model:
        for threads in (1, 3):
            got = model.generate_floats(3, 5, threads=threads)
            assert np.abs(got - want).max() <= CLOSE
            some = model.generate_floats(3, 2, start=2, threads=threads)  # by other methods, for another batch
            assert np.abs(some - want[2:4]).max() <= CLOSE


def test_every_weight_counts(write: Write) -> None:
    weights = weights_of(SPEC, separable=True)
    with Model(write(SPEC, weights)) as model:
        want = model.generate_floats(3, 1)
    for key in weights:
        if key.startswith(("out", "in")):
            continue
        changed = weights[key].copy()
        changed[(0,) * changed.ndim if key.startswith("plane") else ...] += 0.25
        with Model(write(SPEC, {**weights, key: changed})) as model:
            assert not np.array_equal(model.generate_floats(3, 1), want), key


def _ported() -> GeneratorSpec:
    """From rows of w, with psi and planes of noise, joined to what lies before them and apart."""
    c = Chain("ws")
    w = c.add(Row, "w0", index=0)
    w = c.add(Truncate, "truncated", inputs=(w, "psi"), features=9)
    c.add(Linear, "style0", inputs=(w,), in_features=9, out_features=18)
    c.add(ModulatedConstant, "constant", shape=(18, 6, 5))
    c.add(AddNoise, "noisy0", inputs=(c.last, "noise0"))
    c.add(Row, "w1", inputs=("ws",), index=2)
    c.add(Linear, "style1", in_features=9, out_features=18)
    c.add(ScaleChannels, "scaled", inputs=("noisy0", "style1"))
    c.add(AddNoise, "noisy1", inputs=(c.last, "noise1"))
    c.add(Activation, "act", kind="leaky_relu", slope=0.2)
    c.add(GroupedConv, "filter", in_channels=18, out_channels=18, kernel=4, groups=18, padding=2)
    c.add(AddNoise, "noisy2", inputs=(c.last, "noise2"))
    c.add(Conv, "last", in_channels=18, out_channels=3, kernel=1)
    inputs = (
        Port("ws", "values", (3, 9)),
        Port("psi", "scalar", range=(0.0, 1.0)),
        *(Port(f"noise{i}", "noise", (1, *side), prior=Normal()) for i, side in enumerate(((6, 5), (6, 5), (7, 6)))),
    )
    return GeneratorSpec("test", Signature(inputs, (Port("image", "image", (3, 7, 6)),)), tuple(c))


PORTED = _ported()


@pytest.mark.parametrize("level", LEVELS)
def test_w_psi_and_noise_go_in(level: str, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = weights_of(PORTED, separable=True)
    feeds = PORTED.signature.feeds(5, range(4, 9), psi=np.linspace(0, 1, 5, dtype=np.float32))
    with torch.inference_mode():
        want = build_module(PORTED, weights)(*(torch.from_numpy(x) for x in feeds.values())).numpy()
    path = write(PORTED, weights)
    with opened(path, level, monkeypatch) as model:
        assert (model.nz, model.prior, model.scalars, model.noise) == (27, "none", 1, 30 + 30 + 42)
        drawn = model.generate_floats(  # the noise is that of the seed
            5, start=4, latents=feeds["ws"].reshape(5, 27), scalars=feeds["psi"][:, None], threads=1
        )
        assert np.abs(drawn - want).max() <= CLOSE * np.abs(want).max()
        with pytest.raises(GanExportError, match="27 numbers without a distribution"):
            model.generate(5, 1)
        with pytest.raises(GanExportError, match=r"scalars of shape \(5, 2\): must be \(5, 1\)"):
            model.generate(5, latents=feeds["ws"].reshape(5, 27), scalars=np.zeros((5, 2)))
    session = NATIVE.load(path, threads=3)
    assert np.abs(session.run(feeds)["image"] - want).max() <= CLOSE * np.abs(want).max()
    session.close()


def _mapping() -> GeneratorSpec:
    """z to the ws that `PORTED` takes; the second isn't truncated."""
    c = Chain()
    c.add(PixelNorm, "norm")
    c.add(Linear, "map", in_features=12, out_features=9)
    w = c.add(Activation, "w", kind="leaky_relu", slope=0.2)
    c.add(Truncate, "near", inputs=(w, "psi"), features=9)
    c.add(Rows, "rows", inputs=("near", "w", "near"))
    inputs = Signature.of_latent(12, "normal", (1, 1, 1), 0, None).inputs
    signature = Signature((*inputs, Port("psi", "scalar", range=(0.0, 1.0))), (Port("ws", "values", (3, 9)),))
    return GeneratorSpec("test", signature, tuple(c))


MAPPED = _mapping()


@pytest.mark.parametrize("level", LEVELS)
def test_a_mapping_gives_a_row_for_each_layer(level: str, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, weights = MAPPED, random_weights(MAPPED)
    feeds = spec.signature.feeds(5, range(4, 9), psi=np.linspace(0, 1, 5, dtype=np.float32))
    with torch.inference_mode():
        want = build_module(spec, weights)(*(torch.from_numpy(x) for x in feeds.values())).numpy()
    path = write(spec, weights)
    with opened(path, level, monkeypatch) as model:
        assert (model.kind, model.image) == ("values", (3, 9))
        made = model.generate_floats(5, 5, start=4, scalars=feeds["psi"][:, None], threads=2)
        assert np.abs(made - want).max() <= CLOSE
        with pytest.raises(GanExportError, match="bytes for values: floats fit"):
            model.generate(5, 1)
    session = NATIVE.load(path, threads=1)
    assert np.abs(session.run(feeds)["ws"] - want).max() <= CLOSE
    assert session.shapes().outputs == {"ws": (3, 9)}
    session.close()
    assert np.abs(want[:, 0] - want[:, 1]).max() > 0.1


def test_rows_of_two_lengths_are_refused(tmp_path: Path) -> None:
    data, near, w, z = encode(MAPPED, random_weights(MAPPED)), 5, 4, 0  # numbers of values
    at = data.index(struct.pack("<3I", near, w, near))
    (tmp_path / "odd.gan").write_bytes(reseal(bytearray(data[: at + 4] + bytes([z]) + data[at + 5 :])))
    with pytest.raises(GanExportError, match=r"layer 4 rows \(ROWS\): its attributes don't go with"):
        Model(tmp_path / "odd.gan")


@pytest.mark.parametrize(
    ("key", "number"),
    [("groups", 4), ("padding", 1 << 17), ("start", 20), ("height", 4), ("count", 0), ("index", 3), ("features", 8)],
)
def test_attributes_that_do_not_fit_are_refused(key: str, number: int, tmp_path: Path) -> None:
    spec = PORTED if key in ("index", "features") else SPEC
    data = encode(spec, weights_of(spec, separable=True))
    path = tmp_path / "odd.gan"
    path.write_bytes(with_attribute(data, key, number))
    with pytest.raises(GanExportError, match="layer"):
        Model(path)


def test_a_transposed_convolution_in_groups_is_refused_by_name() -> None:
    c = Chain()
    c.add(Linear, "fc", in_features=4, out_features=8)
    c.add(ModulatedConstant, "constant", shape=(8, 4, 4))
    c.add(GroupedConvTranspose, "pairs", in_channels=8, out_channels=8, kernel=4, groups=4, padding=1)
    spec = GeneratorSpec.of_latent("test", 4, "normal", (8, 8, 8), (-1.0, 1.0), tuple(c))
    with pytest.raises(GanExportError, match=r"layer pairs \(GroupedConvTranspose\): 4 groups of 8 channels"):
        encode(spec, random_weights(spec))
