"""Two small generators as `.gan` files, one with labels, for the engine, which these tests need."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gan_export.exporters.native import encode
from gan_export.formats.manifest import Manifest
from gan_export.formats.tolerance import rule
from gan_export.graph.layers import Activation, Concat, ConvTranspose, OneHot, Reshape
from gan_export.graph.spec import Chain, GeneratorSpec
from gan_export.runtimes.native import NATIVE
from gan_export.sampling import generator as generators
from gan_export.sampling.opening import open_generator

COUNT, SEED = 70, 7


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    found = NATIVE.availability()
    for item in items:
        if "tests/datasets" in str(item.fspath) and not found.ok:
            item.add_marker(pytest.mark.skip(reason=found.reason))


def write_generator(target: Path, classes: int, channels: int = 1, width: int = 16, doublings: int = 3) -> Path:
    """Write transposed convolutions with seeded weights, from 4x4 on.

    A label is concatenated to z as a one-hot code.
    """
    c = Chain()
    if classes:
        hot = c.add(OneHot, "hot", inputs=("label",), classes=classes)
        c.add(Concat, "joined", inputs=("z", hot))
    c.add(Reshape, "seed", shape=(100 + classes, 1, 1))
    before = 100 + classes
    widths = (*(max(4, width >> i) for i in range(doublings)), channels)
    size = 4 << doublings
    for i, after in enumerate(widths):
        stride, padding = (2, 1) if i else (1, 0)
        c.add(ConvTranspose, f"up{i}", in_channels=before, out_channels=after, kernel=4, stride=stride, padding=padding)
        c.add(Activation, f"act{i}", kind="relu" if i + 1 < len(widths) else "tanh")
        before = after
    spec = GeneratorSpec.of_latent(
        "test", 100, "normal", (channels, size, size), (-1.0, 1.0), tuple(c), classes=classes
    )
    rng = np.random.default_rng(1)
    weights = {}
    for layer in spec.layers:
        for name, shape in layer.parameters().items():
            scale = 0.1 if name == "bias" else 2.0 / np.sqrt(4 * shape[0])
            weights[f"{layer.name}.{name}"] = (rng.standard_normal(shape) * scale).astype(np.float32)
    if classes:
        weights["up0.weight"][100:] *= 6.0  # makes the effect of a label visible
    held_to = rule("native", "fp32").given()
    manifest = Manifest("native", "test", spec.signature, "bytes", "fp32", held_to, "0" * 64, {}, {}, "")
    target.write_bytes(encode(spec, weights, manifest.to_json()))
    return target


@pytest.fixture(scope="session")
def gan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_generator(tmp_path_factory.mktemp("gan") / "g.gan", 0)


@pytest.fixture(scope="session")
def labeled_gan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_generator(tmp_path_factory.mktemp("labeled") / "l.gan", 10)


def drawn(path: Path, count: int = COUNT, label: generators.Label = "random") -> np.ndarray:
    """Return images 0 .. of SEED, as the library generates them without a dataset."""
    with open_generator(path) as generator:
        return generator.sample(count, seed=SEED, labels=label)


@pytest.fixture(scope="session")
def wanted(gan: Path) -> np.ndarray:
    return drawn(gan)
