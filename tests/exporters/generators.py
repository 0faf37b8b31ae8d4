"""Small generators that between them have every kind of layer, and their pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gan_export import latents
from gan_export.checkpoint.checkpoint import Checkpoint, Source
from gan_export.graph.layers import (
    Activation,
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
)
from gan_export.graph.spec import Chain, GeneratorSpec
from gan_export.graph.torch_module import build_module
from gan_export.images import to_bytes
from gan_export.recognize.options import Match
from tests.conftest import latent_image
from tests.engine.conftest import random_weights
from tests.engine.test_engine import SPECS as OF_THE_ENGINE


def _labeled() -> GeneratorSpec:
    c = Chain()
    a = c.add(Embedding, "embed", inputs=("label",), classes=5, dim=6)
    b = c.add(OneHot, "hot", inputs=("label",), classes=5)
    c.add(Linear, "mix", inputs=("z",), in_features=4, out_features=6)
    m = c.add(Multiply, "times", inputs=(c.last, a))
    c.add(Concat, "joined", inputs=("z", m, b))
    c.add(Linear, "out", in_features=15, out_features=12)
    c.add(Reshape, "grid", shape=(3, 2, 2))
    c.add(Activation, "sigmoid", kind="sigmoid")
    c.add(Scale, "range", factor=2.0, offset=-1.0)
    return GeneratorSpec.of_latent("test", 4, "normal", (3, 2, 2), (-1.0, 1.0), tuple(c), classes=5)


def _awkward() -> GeneratorSpec:
    """Names that C knows otherwise, sizes that fill no panel, strides that skip, taps that reach nothing."""
    c = Chain()
    c.add(Affine, "int", channels=11)
    c.add(Linear, "0.main", in_features=11, out_features=5 * 3 * 2)
    c.add(Activation, "0_main", kind="leaky_relu", slope=0.1)
    c.add(Reshape, "x", shape=(5, 3, 2))
    c.add(Conv, "main", in_channels=5, out_channels=19, kernel=5, padding=2)
    c.add(Activation, "relu", kind="relu")
    c.add(Conv, "tile_1", in_channels=19, out_channels=21, kernel=2, stride=3, padding=1)
    c.add(ConvTranspose, "run_x", in_channels=21, out_channels=35, kernel=1, stride=2, output_padding=1, bias=False)
    c.add(ConvTranspose, "é", in_channels=35, out_channels=2, kernel=3, stride=4, padding=1, output_padding=2)
    c.add(Crop, "tanh", top=1, left=1, height=9, width=5)
    c.add(Activation, "volatile", kind="sigmoid")
    return GeneratorSpec.of_latent("test", 11, "uniform", (2, 9, 5), (0.0, 1.0), tuple(c))


SPECS = {**OF_THE_ENGINE, "labeled": _labeled(), "awkward": _awkward()}


def checkpoint_of(spec: GeneratorSpec) -> Checkpoint:
    """One with random weights, as if it had been read from a file."""
    source = Source("test.pth", "0" * 64, "torch", "", (), ())
    return Checkpoint(random_weights(spec), source, Match(spec, {}))


def pictures(spec: GeneratorSpec, seed: int, start: int, count: int) -> np.ndarray:
    """As eager PyTorch draws them, label i mod classes: uint8 (N, H, W, C)."""
    z = torch.from_numpy(latents.draw(seed, start, count, latent_image(spec).nz, latent_image(spec).prior))
    labels = [(start + torch.arange(count)) % latent_image(spec).classes] if latent_image(spec).classes else []
    with torch.inference_mode():
        values = build_module(spec, random_weights(spec))(z, *labels).numpy()
    low, high = latent_image(spec).range or (-1.0, 1.0)
    return to_bytes((values - np.float32(low)) * np.float32(2 / (high - low)) - np.float32(1))


def same(got: np.ndarray, wanted: np.ndarray) -> bool:
    """At most 1 byte in 10,000 differs, by 1; of few bytes one may."""
    step = np.abs(got.astype(int) - wanted.astype(int))
    return got.shape == wanted.shape and int((step > 0).sum()) <= max(1, step.size // 10_000) and step.max() <= 1


def read_pnm(path: Path) -> np.ndarray:
    """uint8 (H, W, C)."""
    kind, width, height, most, pixels = path.read_bytes().split(maxsplit=4)
    channels = {b"P5": 1, b"P6": 3}[kind]
    assert most == b"255"
    # what follows the one white space after 255 may itself begin with white space
    pixels = path.read_bytes()[-int(width) * int(height) * channels :]
    return np.frombuffer(pixels, np.uint8).reshape(int(height), int(width), channels)
