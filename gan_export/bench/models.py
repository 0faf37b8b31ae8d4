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
    """A DCGAN: ConvTranspose2d or 3d of kernel 4, BatchNorm and ReLU in turn, then tanh or for volumes sigmoid.

    The first convolution has stride 1 and padding 0, the others stride 2 and padding 1.

    prefix:   of the keys: of convolution i of an image prefix.3i, of a volume prefix(i + 1).0, and of the norm after it
    channels: from the size of the latent to the channels of the image
    dims:     of the kernels
    """

    name: str
    title: str
    prefix: str
    channels: tuple[int, ...]
    bias: bool
    dims: int = 2


BUILT_IN: Registry[BuiltIn] = Registry(
    "built-in generator",
    (
        BuiltIn("classic", "the classic DCGAN, 32x32x1", "model", (100, 512, 256, 128, 1), bias=True),
        BuiltIn("dcgan64", "the DCGAN of pytorch/examples, 64x64x3", "main", (100, 512, 256, 128, 64, 3), bias=False),
        BuiltIn("gan3d64", "3D-GAN, 64x64x64x1", "layer", (200, 512, 256, 128, 64, 1), bias=False, dims=3),
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
    channel, 8 in a volume.
    """
    rng = np.random.default_rng(seed)
    state: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = {}
    pairs = list(zip(model.channels, model.channels[1:], strict=False))
    for i, (inputs, outputs) in enumerate(pairs):
        taps = 1 if i == 0 else 2**model.dims
        name, norm = f"{model.prefix}.{3 * i}", f"{model.prefix}.{3 * i + 1}"
        if model.dims == 3:
            name, norm = f"{model.prefix}{i + 1}.0", f"{model.prefix}{i + 1}.1"
        scale = math.sqrt((1.0 if i == 0 else 2.0) / (inputs * taps)) * (0.5 if i == len(pairs) - 1 else 1.0)
        state[f"{name}.weight"] = (rng.standard_normal((inputs, outputs, *(4,) * model.dims)) * scale).astype(
            np.float32
        )
        if model.bias:
            state[f"{name}.bias"] = (rng.standard_normal(outputs) * 0.02).astype(np.float32)
        if i < len(pairs) - 1:
            state[f"{norm}.weight"] = (1 + 0.02 * rng.standard_normal(outputs)).astype(np.float32)
            state[f"{norm}.bias"] = (0.02 * rng.standard_normal(outputs)).astype(np.float32)
            state[f"{norm}.running_mean"] = (0.1 * rng.standard_normal(outputs)).astype(np.float32)
            state[f"{norm}.running_var"] = rng.uniform(0.8, 1.2, outputs).astype(np.float32)
            state[f"{norm}.num_batches_tracked"] = np.array(1, np.int64)
    return state
