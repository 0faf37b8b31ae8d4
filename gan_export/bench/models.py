"""Built-in generators, measured if no file is named: layouts of real checkpoints with seeded weights.

Speed doesn't depend on the weights.  For the parity check, the images' values must spread over [-1, 1]; these do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gan_export._lib.registry import Registry


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A DCGAN: ConvTranspose2d of kernel 4, BatchNorm and ReLU in turn, then tanh.

    The first convolution has stride 1 and padding 0, the others stride 2 and padding 1.

    channels: from the size of the latent to the channels of the image
    """

    name: str
    title: str
    prefix: str
    channels: tuple[int, ...]
    bias: bool


BUILT_IN: Registry[BuiltIn] = Registry(
    "built-in generator",
    (
        BuiltIn("classic", "the classic DCGAN, 32x32x1", "model", (100, 512, 256, 128, 1), bias=True),
        BuiltIn("dcgan64", "the DCGAN of pytorch/examples, 64x64x3", "main", (100, 512, 256, 128, 64, 3), bias=False),
    ),
)
find = BUILT_IN.find


def write_checkpoint(model: BuiltIn, path: Path, seed: int = 0) -> None:
    """Write a bare state_dict, as the original training code saves it."""
    import torch

    state = {key: torch.from_numpy(value) for key, value in weights(model, seed).items()}
    torch.save(state, path)


def weights(model: BuiltIn, seed: int) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Return seeded weights that keep the variance near 1 from layer to layer.

    He initialization: an output value of a transposed convolution of kernel 4 and stride 2 sums over 4 taps per
    channel.
    """
    rng = np.random.default_rng(seed)
    state: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = {}
    pairs = list(zip(model.channels, model.channels[1:], strict=False))
    for i, (inputs, outputs) in enumerate(pairs):
        taps = 1 if i == 0 else 4
        name = f"{model.prefix}.{3 * i}"
        scale = math.sqrt((1.0 if i == 0 else 2.0) / (inputs * taps)) * (0.5 if i == len(pairs) - 1 else 1.0)
        state[f"{name}.weight"] = (rng.standard_normal((inputs, outputs, 4, 4)) * scale).astype(np.float32)
        if model.bias:
            state[f"{name}.bias"] = (rng.standard_normal(outputs) * 0.02).astype(np.float32)
        if i < len(pairs) - 1:
            norm = f"{model.prefix}.{3 * i + 1}"
            state[f"{norm}.weight"] = (1 + 0.02 * rng.standard_normal(outputs)).astype(np.float32)
            state[f"{norm}.bias"] = (0.02 * rng.standard_normal(outputs)).astype(np.float32)
            state[f"{norm}.running_mean"] = (0.1 * rng.standard_normal(outputs)).astype(np.float32)
            state[f"{norm}.running_var"] = rng.uniform(0.8, 1.2, outputs).astype(np.float32)
            state[f"{norm}.num_batches_tracked"] = np.array(1, np.int64)
    return state
