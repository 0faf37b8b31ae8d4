"""Small generators of volumes and of a signal, which between them have every layer that these have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gan_export.graph.layers import (
    Activation,
    Add,
    Affine,
    Concat,
    ConvNd,
    ConvTransposeNd,
    Linear,
    Reshape,
    UpsampleNd,
)
from gan_export.graph.spec import Chain, GeneratorSpec


def _sized(dims: int) -> Callable[..., dict[str, Any]]:
    """(before, after, kernel, stride, padding[, output_padding]) -> a layer's settings in 1 or 3 dimensions."""

    def settings(before: int, after: int, kernel: int, stride: int, padding: int, *extra: int) -> dict[str, Any]:
        sides = {"kernel": kernel, "stride": stride, "padding": padding}
        sides |= {"output_padding": extra[0]} if extra else {}
        return {"in_channels": before, "out_channels": after} | {key: (n,) * dims for key, n in sides.items()}

    return settings


def volume() -> GeneratorSpec:
    """The chain of 3D-GAN: z -> 4^3 -> 8^3 -> 16^3, one channel."""
    c, sized = Chain(), _sized(3)
    c.add(Reshape, "seed", shape=(6, 1, 1, 1))
    c.add(ConvTransposeNd, "up0", **sized(6, 21, 4, 1, 0, 0))
    c.add(Activation, "relu0", kind="relu")
    c.add(ConvTransposeNd, "up1", **sized(21, 35, 4, 2, 1, 0), bias=False)
    c.add(Activation, "relu1", kind="leaky_relu", slope=0.2)
    c.add(ConvTransposeNd, "last", **sized(35, 1, 4, 2, 1, 0))
    c.add(Activation, "tanh", kind="tanh")
    return GeneratorSpec.of_latent("test", 6, "normal", (1, 16, 16, 16), (-1.0, 1.0), tuple(c))


def odd_volume() -> GeneratorSpec:
    """Sides that differ, convolutions, upsampling, a sum beside a shortcut, several channels."""
    c, sized = Chain(), _sized(3)
    c.add(Linear, "fc", in_features=5, out_features=9 * 2 * 3 * 4)
    x = c.add(Reshape, "grid", shape=(9, 2, 3, 4))
    c.add(Affine, "norm", channels=9)
    c.add(Activation, "relu", kind="relu")
    c.add(UpsampleNd, "grow", factor=(2, 2, 2))
    a = c.add(ConvNd, "conv", **sized(9, 18, 3, 1, 1))
    c.add(UpsampleNd, "grow2", inputs=(x,), factor=(2, 2, 2))
    b = c.add(ConvNd, "short", **sized(9, 18, 1, 1, 0), bias=False)
    s = c.add(Add, "sum", inputs=(a, b))
    c.add(Concat, "both", inputs=(s, a))
    c.add(ConvNd, "down", **sized(36, 20, 3, 2, 1))
    c.add(ConvTransposeNd, "up", **sized(20, 17, 3, 2, 1, 1))
    c.add(ConvNd, "last", **sized(17, 2, 3, 1, 1))
    c.add(Activation, "tanh", kind="tanh")
    return GeneratorSpec.of_latent("test", 5, "uniform", (2, 4, 6, 8), (-1.0, 1.0), tuple(c))


def signal() -> GeneratorSpec:
    """The layers of WaveGAN: kernels of 25 with stride 4."""
    c, sized = Chain(), _sized(1)
    c.add(Linear, "fc", in_features=7, out_features=18 * 5)
    c.add(Reshape, "grid", shape=(18, 5))
    c.add(Activation, "relu", kind="relu")
    c.add(ConvTransposeNd, "up0", **sized(18, 20, 25, 4, 11, 1))
    c.add(Activation, "relu0", kind="relu")
    c.add(UpsampleNd, "grow", factor=(2,))
    c.add(ConvNd, "conv", **sized(20, 17, 3, 1, 1))
    c.add(Affine, "norm", channels=17)
    c.add(ConvTransposeNd, "last", **sized(17, 1, 25, 4, 11, 1))
    c.add(Activation, "tanh", kind="tanh")
    return GeneratorSpec.of_latent("test", 7, "uniform", (1, 160), (-1.0, 1.0), tuple(c))


SPECS = {"volume": volume(), "odd volume": odd_volume(), "signal": signal()}
