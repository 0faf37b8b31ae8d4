"""The engine draws what the PyTorch interpreter of the same spec draws, at every level of the processor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gan_export import images, latents
from gan_export.graph.layers import (
    Activation,
    Add,
    Affine,
    Concat,
    Conv,
    ConvTranspose,
    Crop,
    Embedding,
    Linear,
    Multiply,
    OneHot,
    Reshape,
    Scale,
    Upsample,
)
from gan_export.graph.spec import Chain, GeneratorSpec  # fmt: skip
from gan_export.graph.torch_module import build_module
from gan_export.runtimes.native import Model
from tests.conftest import latent_image

from . import volumes
from .conftest import Write, random_weights, transposed

CLOSE = 1e-5


def _chain(*layers: tuple[type[Any], dict[str, Any]], nz: int = 9) -> tuple[Any, ...]:
    c = Chain()
    for i, (kind, settings) in enumerate(layers):
        c.add(kind, f"layer{i}", **settings)
    return tuple(c)


def _residual(mode: str) -> GeneratorSpec:
    """A block of upsampling and 3x3 convolutions beside a 1x1 shortcut."""
    c = Chain()
    c.add(Linear, "fc", in_features=12, out_features=20 * 12)
    x = c.add(Reshape, "grid", shape=(20, 4, 3))
    c.add(Affine, "norm", channels=20)
    c.add(Activation, "relu", kind="relu")
    c.add(Upsample, "grow", factor=2, mode=mode)
    a = c.add(Conv, "conv", in_channels=20, out_channels=7, kernel=3, padding=1)
    c.add(Upsample, "grow2", inputs=(x,), factor=2, mode=mode)
    b = c.add(Conv, "short", in_channels=20, out_channels=7, kernel=1, bias=False)
    c.add(Add, "sum", inputs=(a, b))
    c.add(Activation, "leaky", kind="leaky_relu", slope=0.2)
    c.add(Conv, "out", in_channels=7, out_channels=3, kernel=3, padding=1)
    c.add(Activation, "sigmoid", kind="sigmoid")
    c.add(Scale, "range", factor=2.0, offset=-1.0)
    return GeneratorSpec.of_latent("test", 12, "normal", (3, 8, 6), (-1.0, 1.0), tuple(c))


def _dense() -> GeneratorSpec:
    layers = _chain(
        (Linear, {"in_features": 9, "out_features": 33}),
        (Activation, {"kind": "leaky_relu", "slope": 0.2}),
        (Linear, {"in_features": 33, "out_features": 70}),
        (Activation, {"kind": "tanh"}),
        (Reshape, {"shape": (2, 7, 5)}),
    )
    return GeneratorSpec.of_latent("test", 9, "uniform", (2, 7, 5), (-1.0, 1.0), layers)


def _up(before: int, after: int, **settings: int) -> dict[str, Any]:
    return {"in_channels": before, "out_channels": after, **settings}


def _odd() -> GeneratorSpec:
    layers = _chain(
        (Reshape, {"shape": (9, 1, 1)}),
        (ConvTranspose, {"in_channels": 9, "out_channels": 11, "kernel": 3, "stride": 2}),
        (Activation, {"kind": "relu"}),
        (ConvTranspose, _up(11, 6, kernel=5, stride=3, padding=1, output_padding=2)),
        (Crop, {"top": 1, "left": 2, "height": 9, "width": 7}),
        (Reshape, {"shape": (6, 7, 9)}),
        (Conv, {"in_channels": 6, "out_channels": 10, "kernel": 3, "stride": 2, "padding": 1}),
        (Activation, {"kind": "tanh"}),
        (Affine, {"channels": 10}),
    )  # fmt: skip
    return GeneratorSpec.of_latent("test", 9, "normal", (10, 4, 5), None, layers)


SPECS = {
    "classic": transposed((48, 40, 24), 1, 20),
    "color": transposed((33, 17), 3, 7, "uniform"),
    "dense": _dense(),
    "odd": _odd(),
    "nearest": _residual("nearest"),
    "bilinear": _residual("bilinear"),
    **volumes.SPECS,
}
LEVELS = ("generic", "avx2", "avx512", "neon")


def opened(path: Any, level: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Model:
    monkeypatch.setenv("GAN_CPU", level)
    try:
        return Model(path, **options)
    except Exception as e:
        if "GAN_CPU" in str(e):
            pytest.skip(f"this processor has no {level}")
        raise


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", SPECS)
def test_pictures_are_those_of_the_interpreter(
    name: str, level: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SPECS[name]
    weights = random_weights(spec)
    z = latents.draw(3, 0, 17, latent_image(spec).nz, latent_image(spec).prior)
    with torch.inference_mode():
        want = build_module(spec, weights)(torch.from_numpy(z)).numpy()
    with opened(write(spec, weights), level, monkeypatch) as model:
        assert model.cpu == level
        for count in (1, 2, 5, 17):
            for threads in (1, 3):
                got = model.generate_floats(3, count, threads=threads)
                assert np.abs(got - want[:count]).max() <= CLOSE * max(1.0, np.abs(want).max())
        bytes_ = model.generate(3, 17)
        expected = images.to_bytes(want)
        assert np.abs(bytes_.astype(int) - expected).max() <= 1
        assert (bytes_ != expected).mean() <= 1e-3  # of a few thousand bytes


@pytest.mark.parametrize("level", ["generic", "avx2"])
def test_less_memory_gives_the_same_pictures(level: str, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = transposed((64, 64, 48), 3, 20)
    path = write(spec, random_weights(spec))
    with opened(path, level, monkeypatch) as model:
        want = model.generate_floats(5, 20, threads=2)
        scratch, packed = model.memory(20, threads=2)
    spent = []
    for share in (0.8, 0.6, 0.4, 0.25):
        bound = int((scratch + packed) * share)
        with opened(path, level, monkeypatch, max_memory=bound) as model:
            assert sum(model.memory(20, threads=2)) <= bound
            spent.append(sum(model.memory(20, threads=2)))
            assert np.abs(model.generate_floats(5, 20, threads=2) - want).max() <= CLOSE
    assert len(set(spent)) > 1
    with opened(path, level, monkeypatch, max_memory=1000) as model, pytest.raises(Exception, match="memory"):
        model.generate(5, 20)


def _labeled() -> GeneratorSpec:
    c = Chain()
    a = c.add(Embedding, "embed", inputs=("label",), classes=5, dim=6)
    b = c.add(OneHot, "hot", inputs=("label",), classes=5)
    c.add(Linear, "mix", inputs=("z",), in_features=4, out_features=6)
    m = c.add(Multiply, "times", inputs=(c.last, a))
    c.add(Concat, "joined", inputs=("z", m, b))
    c.add(Linear, "out", in_features=15, out_features=12)
    c.add(Reshape, "grid", shape=(3, 2, 2))
    c.add(Activation, "tanh", kind="tanh")
    return GeneratorSpec.of_latent("test", 4, "normal", (3, 2, 2), (-1.0, 1.0), tuple(c), classes=5)


LABELED = _labeled()


def test_labels(write: Write) -> None:
    spec = LABELED
    weights = random_weights(spec)
    module = build_module(spec, weights)
    with Model(write(spec, weights)) as model:
        z = latents.draw(7, 2, 12, 4)
        random = latents.labels(7, 2, 12, 5)
        np.testing.assert_array_equal(model.labels(7, 2, 12), random)
        choices: list[tuple[dict[str, Any], Any]] = [
            ({"label": 3}, np.full(12, 3)),
            ({"label": "all"}, (2 + np.arange(12)) % 5),
            ({"label": "random"}, random),
            ({"labels": [4, 0] * 6}, np.array([4, 0] * 6)),
        ]
        for asked, labels in choices:
            with torch.inference_mode():
                want = module(torch.from_numpy(z), torch.from_numpy(labels.astype(np.int64))).numpy()
            assert np.abs(model.generate_floats(7, 12, start=2, **asked) - want).max() <= CLOSE
        for wrong in ({"label": 5}, {"label": -3}, {"label": "none"}, {"labels": [0, 5]}, {"labels": [0]}):
            with pytest.raises(Exception, match="label"):
                model.generate(7, 2, **wrong)
