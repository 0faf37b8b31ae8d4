"""Small generators as `.gan` files, and the engine, which these tests need."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gan_export.exporters.native import encode
from gan_export.graph.layers import (
    Activation,
    Conv,
    ConvNd,
    ConvTranspose,
    ConvTransposeNd,
    Linear,
    Reshape,
)
from gan_export.graph.spec import Chain, GeneratorSpec
from gan_export.runtimes.native import NATIVE

Weights = dict[str, npt.NDArray[np.float32]]
Write = Callable[..., Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    found = NATIVE.availability()
    for item in items:
        if "tests/engine" in str(item.fspath) and not found.ok:
            if "GAN_TEST_LIBRARY" in os.environ:
                raise pytest.UsageError(f"GAN_TEST_LIBRARY: {found.reason}")
            item.add_marker(pytest.mark.skip(reason=found.reason))


def transposed(widths: tuple[int, ...], channels: int, nz: int, prior: str = "normal") -> GeneratorSpec:
    """DCGAN's chain: z -> 4x4 -> doubled at each further width and at the end."""
    c = Chain()
    before = nz
    c.add(Reshape, "seed", shape=(nz, 1, 1))
    for i, width in enumerate(widths):
        stride, padding = (2, 1) if i else (1, 0)
        c.add(ConvTranspose, f"up{i}", in_channels=before, out_channels=width, kernel=4, stride=stride, padding=padding)
        c.add(Activation, f"relu{i}", kind="relu")
        before = width
    c.add(ConvTranspose, "last", in_channels=before, out_channels=channels, kernel=4, stride=2, padding=1)
    c.add(Activation, "tanh", kind="tanh")
    side = 4 * 2 ** len(widths)
    return GeneratorSpec.of_latent("test", nz, prior, (channels, side, side), (-1.0, 1.0), tuple(c))  # type: ignore[arg-type]


def random_weights(spec: GeneratorSpec, seed: int = 0) -> Weights:
    """Weights that keep a signal's size about the same from layer to layer."""
    rng = np.random.default_rng(seed)
    weights = {}
    for layer in spec.layers:
        match layer:
            case Linear(in_features=n):
                fan = n
            case Conv(in_channels=n, kernel=k):
                fan = n * k * k
            case ConvTranspose(in_channels=n, kernel=k, stride=s):
                fan = max(n * k * k // (s * s if k > s else k * k), 1)
            case ConvNd(in_channels=n, kernel=sides):
                fan = n * math.prod(sides)
            case ConvTransposeNd(in_channels=n, kernel=sides, stride=strides):
                fan = max(n * math.prod(k // s for k, s in zip(sides, strides, strict=True)), 1)
            case _:
                fan = 1
        for name, shape in layer.parameters().items():
            size = 0.1 if name == "bias" else 1.4 / np.sqrt(fan)
            weights[f"{layer.name}.{name}"] = (rng.standard_normal(shape) * size).astype(np.float32)
    return weights


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """(spec, weights, precision) -> the path of its `.gan` file."""

    def save(spec: GeneratorSpec, weights: Weights, precision: str = "fp32") -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.gan"
        path.write_bytes(encode(spec, weights, '{"of": "a test"}', precision))
        return path

    return save
