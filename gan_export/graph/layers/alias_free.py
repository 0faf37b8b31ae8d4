"""Define layers of StyleGAN3: Fourier features that w moves, and low-pass filters that change the sampling rate.

Source: Karras et al. 2021, "Alias-Free Generative Adversarial Networks", and NVlabs/stylegan3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gan_export.graph.layers.base import Shape, require, takes_channels


@dataclass(frozen=True, slots=True)
class FourierFeatures:
    """Waves over a square grid, turned and moved by t (4,): (4,) -> (channels, side, side).

    t = (cosine, sine, x, y) is divided by the length of (cosine, sine).  transform (3, 3) is applied after it,
    freqs (channels, 2) are in cycles per unit, phases (channels,) in cycles.  The grid has sampling_rate points per
    unit; what lies above `bandwidth` is damped, down to 0 at sampling_rate / 2.
    """

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    channels: int
    side: int
    sampling_rate: float
    bandwidth: float

    def parameters(self) -> dict[str, Shape]:
        return {"transform": (3, 3), "freqs": (self.channels, 2), "phases": (self.channels,)}

    def output_shape(self, *inputs: Shape) -> Shape:
        require(inputs[0] == (4,), f"takes (4,), is given {inputs[0]}")
        require(0 < 2 * self.bandwidth < self.sampling_rate, "bad bandwidth")
        return (self.channels, self.side, self.side)

    def flops(self, *inputs: Shape) -> int:
        return 24 * math.prod(self.output_shape(*inputs))


@dataclass(frozen=True, slots=True)
class FilterUp:
    """Upsampling by `factor`: zeros between the values, padding, and a separable filter.

    weight (channels, taps): the filter of each channel, along both axes.  before, after: padding of the enlarged map
    at the start and the end of both axes; what is negative is cut off.
    """

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    channels: int
    taps: int
    factor: int
    before: int
    after: int

    def parameters(self) -> dict[str, Shape]:
        return {"weight": (self.channels, self.taps)}

    @property
    def start(self) -> int:
        """The first row and column of the whole convolution that is kept."""
        return self.taps - 1 - self.before

    def output_shape(self, *inputs: Shape) -> Shape:
        takes_channels(self.channels, x := inputs[0])
        inside = self.start >= 0 and self.after + self.factor <= self.taps
        require(self.factor >= 1 and inside, "is padded beyond its filter")
        grow = self.before + self.after - self.taps + 1
        return (self.channels, x[1] * self.factor + grow, x[2] * self.factor + grow)

    def flops(self, *inputs: Shape) -> int:
        channels, height, width = inputs[0]
        return 2 * channels * self.taps * height * width * (1 + self.factor)


@dataclass(frozen=True, slots=True)
class FilterDown:
    """Downsampling by `factor`: a filter, of whose results every `factor`-th is kept.

    weight (channels, taps) if the filter is separable, along both axes; else (channels, taps, taps).
    """

    ARITY: ClassVar[int | None] = 1
    name: str
    inputs: tuple[str, ...]
    channels: int
    taps: int
    factor: int
    separable: bool = True

    def parameters(self) -> dict[str, Shape]:
        return {"weight": (self.channels, self.taps) if self.separable else (self.channels, self.taps, self.taps)}

    def output_shape(self, *inputs: Shape) -> Shape:
        takes_channels(self.channels, x := inputs[0])
        require(self.factor >= 1, "bad factor")
        return (self.channels, *((side - self.taps) // self.factor + 1 for side in x[1:]))

    def flops(self, *inputs: Shape) -> int:
        channels, height, width = self.output_shape(*inputs)
        per_value = self.taps * (1 + self.factor) if self.separable else self.taps**2
        return 2 * channels * height * width * per_value
