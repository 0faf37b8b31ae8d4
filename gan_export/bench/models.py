"""Built-in generators, measured if no file is named: layouts of real checkpoints with seeded weights.

Speed doesn't depend on the weights.  For the parity check, the images' values must spread over [-1, 1]; these do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from gan_export._lib.registry import Registry
from gan_export.bench import networks
from gan_export.bench.networks import Network, Size, Weights


class BuiltInGenerator(Protocol):
    """A generator that the bench makes itself.

    size: of the image that goes in; None if none does
    """

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def size(self) -> Size | None: ...
    def weights(self, seed: int) -> Weights:
        """Return seeded weights by the keys of the original."""
        ...


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
    size: Size | None = None

    def weights(self, seed: int) -> Weights:
        return dcgan_weights(self, seed)


CLASSIC = BuiltIn("classic", "the classic DCGAN, 32x32x1", "model", (100, 512, 256, 128, 1), bias=True)
BUILT_IN: Registry[BuiltInGenerator] = Registry(
    "built-in generator",
    (
        CLASSIC,
        BuiltIn("dcgan64", "the DCGAN of pytorch/examples, 64x64x3", "main", (100, 512, 256, 128, 64, 3), bias=False),
        BuiltIn("gan3d64", "3D-GAN, 64x64x64x1", "layer", (200, 512, 256, 128, 64, 1), bias=False, dims=3),
        Network("sngan64", "SNGAN's residual generator, 64x64x3", networks.sngan((1024, 512, 256, 128, 64))),
        Network("stylegan2-64", "StyleGAN2, 64x64x3", networks.stylegan2((512, 512, 512, 512, 256))),
        Network("stylegan2-256", "StyleGAN2, 256x256x3", networks.stylegan2((512, 512, 512, 512, 256, 128, 64))),
        Network("r3gan64", "R3GAN, 64x64x3", networks.r3gan((*((768, 96),) * 4, (384, 48)))),
        Network("resnet9", "CycleGAN's resnet_9blocks, from 256x256x3", networks.resnet(64, 9), (256, 256)),
        Network(
            "unet256", "pix2pix's unet_256, from 256x256x3", networks.unet((64, 128, 256, *(512,) * 5)), (256, 256)
        ),
        Network("srvgg", "Real-ESRGAN's compact network, from 128x128x3 to 512x512x3", networks.srvgg(64), (128, 128)),
        Network("rrdb6", "Real-ESRGAN of 6 blocks, from 64x64x3 to 256x256x3", networks.rrdb(6, 64, 32), (64, 64)),
        # The same kinds with channels that aren't a power of two, and sizes such as 60x100.
        BuiltIn("classic-96", "the classic DCGAN of 96 channels, 32x32x1", "model", (100, 384, 192, 96, 1), bias=True),
        Network("sngan48-96", "SNGAN of 96 channels, 48x48x3", networks.sngan((768, 384, 192, 96), 6)),
        Network("stylegan2-64-96", "StyleGAN2 of 96 channels, 64x64x3", networks.stylegan2((320, 320, 320, 160, 96))),
        Network("r3gan32-160", "R3GAN of 160 channels, 32x32x3", networks.r3gan((*((320, 40),) * 3, (160, 20)))),
        Network("resnet6-96", "resnet_6blocks of 96 channels, from 60x100x3", networks.resnet(96, 6), (60, 100)),
        Network(
            "unet32-40", "unet_32 of 40 channels, from 96x160x3", networks.unet((40, 80, 160, 320, 320)), (96, 160)
        ),
        Network(
            "srvgg-40", "Real-ESRGAN's compact network of 40 channels, from 60x100x3", networks.srvgg(40), (60, 100)
        ),
        Network(
            "rrdb2-48", "Real-ESRGAN of 2 blocks and 48 channels, from 36x52x3", networks.rrdb(2, 48, 24), (36, 52)
        ),
    ),
)
find = BUILT_IN.find


def write_checkpoint(model: BuiltInGenerator, path: Path, seed: int = 0) -> None:
    """Write a bare state_dict, as the original training code saves it."""
    import torch

    state = {key: torch.from_numpy(value) for key, value in model.weights(seed).items()}
    torch.save(state, path)


def dcgan_weights(model: BuiltIn, seed: int) -> Weights:
    """Return seeded weights that keep the variance near 1 from layer to layer.

    He initialization: an output value of a transposed convolution of kernel 4 and stride 2 sums over 4 taps per
    channel, 8 in a volume.
    """
    rng = np.random.default_rng(seed)
    state: Weights = {}
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
