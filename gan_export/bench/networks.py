"""Larger built-in generators: the keys and shapes of public checkpoints, with seeded weights (`Network.weights`).

Each function gives the tensors of one architecture in the order of its code; `models` has the names.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Weights = dict[str, npt.NDArray[np.float32]]


@dataclass(slots=True)
class Draw:
    """A state dict while it is drawn: He initialization, so that the variance stays near 1 from layer to layer."""

    random: np.random.Generator
    state: Weights = field(default_factory=dict)

    def normal(self, key: str, *shape: int, scale: float = 1.0, mean: float = 0.0) -> None:
        self.state[key] = (self.random.standard_normal(shape) * scale + mean).astype(np.float32)

    def conv(
        self, key: str, ins: int, outs: int, kernel: int, *, gain: float = 1.0, groups: int = 1, bias: bool = True
    ) -> None:
        """Draw a convolution; gain: its outputs' standard deviation behind a ReLU."""
        scale = gain * math.sqrt(2.0 * groups / (ins * kernel**2))
        self.normal(f"{key}.weight", outs, ins // groups, kernel, kernel, scale=scale)
        if bias:
            self.normal(f"{key}.bias", outs, scale=0.02)

    def conv_transpose(self, key: str, ins: int, outs: int, kernel: int, *, gain: float = 1.0) -> None:
        """Draw a transposed convolution of stride 2, of which about a quarter of the elements reach an output."""
        self.normal(f"{key}.weight", ins, outs, kernel, kernel, scale=gain * math.sqrt(8.0 / (ins * kernel**2)))
        self.normal(f"{key}.bias", outs, scale=0.02)

    def linear(self, key: str, ins: int, outs: int, *, bias: bool = True) -> None:
        self.normal(f"{key}.weight", outs, ins, scale=math.sqrt(1.0 / ins))
        if bias:
            self.normal(f"{key}.bias", outs, scale=0.02)

    def norm(self, key: str, width: int) -> None:
        self.normal(f"{key}.weight", width, scale=0.02, mean=1.0)
        self.normal(f"{key}.bias", width, scale=0.02)
        self.normal(f"{key}.running_mean", width, scale=0.1)
        self.state[f"{key}.running_var"] = self.random.uniform(0.8, 1.2, width).astype(np.float32)


Size = tuple[int, int]  # height and width


@dataclass(frozen=True, slots=True)
class Network:
    """A built-in generator of any architecture.

    size: of the image that goes in; None if none does
    """

    name: str
    title: str
    draw: Callable[[Draw], None]
    size: Size | None = None

    def weights(self, seed: int) -> Weights:
        """Return the weights by the original's keys."""
        drawn = Draw(np.random.default_rng(seed))
        self.draw(drawn)
        return drawn.state


def sngan(widths: tuple[int, ...], side: int = 4) -> Callable[[Draw], None]:
    """Return what draws SNGAN's residual generator of these widths from side x side on, as mimicry has it."""

    def draw(d: Draw) -> None:
        d.linear("l1", 128, side**2 * widths[0])
        for i, (a, b) in enumerate(itertools.pairwise(widths), 2):
            d.conv(f"block{i}.c1", a, b, 3)
            d.conv(f"block{i}.c2", b, b, 3, gain=0.5)
            d.norm(f"block{i}.b1", a)
            d.norm(f"block{i}.b2", b)
            d.conv(f"block{i}.c_sc", a, b, 1, gain=0.5)
        end = len(widths) + 1
        d.norm(f"b{end}", widths[-1])
        d.conv(f"c{end}", widths[-1], 3, 3, gain=0.5)

    return draw


def resnet(width: int, blocks: int) -> Callable[[Draw], None]:
    """Return what draws CycleGAN's generator of residual blocks with InstanceNorm, which has no weights.

    width: channels of the first convolution
    """

    def draw(d: Draw) -> None:
        wide = 4 * width
        d.conv("model.1", 3, width, 7)
        d.conv("model.4", width, 2 * width, 3)
        d.conv("model.7", 2 * width, wide, 3)
        end = 10 + blocks
        for block in range(10, end):
            d.conv(f"model.{block}.conv_block.1", wide, wide, 3)
            d.conv(f"model.{block}.conv_block.5", wide, wide, 3)
        d.conv_transpose(f"model.{end}", wide, 2 * width, 3)
        d.conv_transpose(f"model.{end + 3}", 2 * width, width, 3)
        d.conv(f"model.{end + 7}", width, 3, 7, gain=0.5)

    return draw


def unet(widths: tuple[int, ...]) -> Callable[[Draw], None]:
    """Return what draws pix2pix's U-Net with InstanceNorm, of one level per width.

    A level's layers are numbered with those between them.
    """

    def draw(d: Draw) -> None:
        d.conv("model.model.0", 3, widths[0], 4)
        level = "model.model.1"
        for i, (a, b) in enumerate(itertools.pairwise(widths), 2):
            inner = i == len(widths)
            d.conv(f"{level}.model.1", a, b, 4)
            d.conv_transpose(f"{level}.model.{3 if inner else 5}", b if inner else 2 * b, a, 4)
            level += ".model.3"
        d.conv_transpose("model.model.3", 2 * widths[0], 3, 4, gain=0.5)

    return draw


def srvgg(width: int) -> Callable[[Draw], None]:
    """Return what draws Real-ESRGAN's compact network: 33 convolutions with PReLU, as `realesr-general-x4v3`."""

    def draw(d: Draw) -> None:
        for i in range(33):
            d.conv(f"body.{2 * i}", width if i else 3, width, 3)
            d.normal(f"body.{2 * i + 1}.weight", width, scale=0.05, mean=0.25)
        d.conv("body.66", width, 3 * 16, 3, gain=0.2)

    return draw


def rrdb(blocks: int, width: int, growth: int) -> Callable[[Draw], None]:
    """Return what draws Real-ESRGAN's network of residual dense blocks, as `x4plus_anime_6B` (6 blocks, 64, 32).

    growth: channels that each convolution of a dense block adds
    """

    def draw(d: Draw) -> None:
        d.conv("conv_first", 3, width, 3)
        for block, dense, i in itertools.product(range(blocks), (1, 2, 3), (1, 2, 3, 4, 5)):
            key = f"body.{block}.rdb{dense}.conv{i}"
            d.conv(key, width + (i - 1) * growth, growth if i < 5 else width, 3)
        for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
            d.conv(name, width, width, 3, gain=0.7)
        d.conv("conv_last", width, 3, 3, gain=0.2)

    return draw


def stylegan2(widths: tuple[int, ...]) -> Callable[[Draw], None]:
    """Return what draws a StyleGAN2 of these widths from 4x4 on, as rosinality's code has it."""

    def modulated(d: Draw, key: str, ins: int, outs: int, kernel: int, *, gain: float = 1.0) -> None:
        d.normal(f"{key}.weight", 1, outs, ins, kernel, kernel, scale=gain)
        d.normal(f"{key}.modulation.weight", ins, 512, scale=0.3)
        d.normal(f"{key}.modulation.bias", ins, scale=0.02, mean=1.0)

    def styled(d: Draw, key: str, ins: int, outs: int, *, up: bool) -> None:
        modulated(d, f"{key}.conv", ins, outs, 3)
        if up:
            d.state[f"{key}.conv.blur.kernel"] = _binomial()
        d.normal(f"{key}.noise.weight", 1, scale=0.1)
        d.normal(f"{key}.activate.bias", outs, scale=0.1)

    def image(d: Draw, key: str, ins: int, *, up: bool) -> None:
        modulated(d, f"{key}.conv", ins, 3, 1, gain=0.25)
        if up:
            d.state[f"{key}.upsample.kernel"] = _binomial()
        d.normal(f"{key}.bias", 1, 3, 1, 1, scale=0.02)

    def draw(d: Draw) -> None:
        for i in range(1, 9):
            d.normal(f"style.{i}.weight", 512, 512, scale=100.0)  # which the code divides by 100
            d.normal(f"style.{i}.bias", 512)
        d.normal("input.input", 1, widths[0], 4, 4)
        styled(d, "conv1", widths[0], widths[0], up=False)
        image(d, "to_rgb1", widths[0], up=False)
        for i, (a, b) in enumerate(itertools.pairwise(widths)):
            styled(d, f"convs.{2 * i}", a, b, up=True)
            styled(d, f"convs.{2 * i + 1}", b, b, up=False)
            image(d, f"to_rgbs.{i}", b, up=True)
        for i in range(2 * len(widths) - 1):
            side = 2 ** ((i + 5) // 2)
            d.normal(f"noises.noise_{i}", 1, 1, side, side)

    return draw


def r3gan(stages: tuple[tuple[int, int], ...]) -> Callable[[Draw], None]:
    """Return what draws R3GAN's generator; stages: (width, groups) from 4x4 on."""

    def draw(d: Draw) -> None:
        for i, (width, groups) in enumerate(stages):
            key = f"Model.MainLayers.{i}.Layers"
            if i == 0:
                d.normal(f"{key}.0.Basis", width, 4, 4)
                d.linear(f"{key}.0.LinearLayer", 64, width, bias=False)
            else:
                d.state[f"{key}.0.Resampler.Kernel"] = _binomial(gain=1.0)
                if (before := stages[i - 1][0]) != width:
                    d.conv(f"{key}.0.LinearLayer.Layer", before, width, 1, bias=False)
            for block in (1, 2):
                wide = 2 * width
                d.conv(f"{key}.{block}.LinearLayer1.Layer", width, wide, 1, bias=False)
                d.conv(f"{key}.{block}.LinearLayer2.Layer", wide, wide, 3, groups=groups, bias=False)
                d.conv(f"{key}.{block}.LinearLayer3.Layer", wide, width, 1, gain=0.3, bias=False)
                d.normal(f"{key}.{block}.NonLinearity1.Bias", wide, scale=0.1)
                d.normal(f"{key}.{block}.NonLinearity2.Bias", wide, scale=0.1)
        d.conv("Model.AggregationLayer.Layer", stages[-1][0], 3, 1, gain=0.25, bias=False)

    return draw


def _binomial(gain: float = 4.0) -> npt.NDArray[np.float32]:
    """Return the filter that an upsampling convolves with; gain: the sum of its elements."""
    row = np.array([1.0, 3.0, 3.0, 1.0])
    return (np.outer(row, row) * (gain / 64.0)).astype(np.float32)
