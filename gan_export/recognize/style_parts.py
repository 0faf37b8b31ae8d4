"""Describe the parts of a style-based generator: their keys in the file, and the gains that its code multiplies by."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gan_export.graph.layers import Shape

Doubles = npt.NDArray[np.float64]
EPS = 1e-8
SLOPE = 0.2


@dataclass(frozen=True, slots=True)
class Dense:
    """A fully connected layer of the file: y = (weight × gain) x + bias × bias_gain + offset."""

    weight: str
    bias: str
    shape: Shape  # (out, in)
    gain: float
    bias_gain: float = 1.0
    active: bool = False  # leaky ReLU × √2 after it
    offset: float = 0.0

    def scaled(self, factor: float) -> Dense:
        """Return the same with its result times `factor`."""
        return replace(
            self, gain=self.gain * factor, bias_gain=self.bias_gain * factor, offset=self.offset * factor
        )  # fmt: skip

    def apply(self, x: Doubles, weight: Doubles, bias: Doubles) -> Doubles:
        """Return what the layer gives for rows (N, in)."""
        y = x @ weight.T * self.gain + bias * self.bias_gain + self.offset
        return np.where(y < 0, SLOPE * y, y) * math.sqrt(2) if self.active else y


@dataclass(frozen=True, slots=True)
class Label:
    """The features of each label.  shape: (classes, features); keys: of the arrays that `compute` takes."""

    shape: Shape
    keys: tuple[str, ...]
    compute: Callable[..., Doubles]

    @staticmethod
    def of(layer: Dense) -> Label:
        """Return that of a fully connected layer which takes the label as one-hot."""
        gain, bias_gain = layer.gain, layer.bias_gain
        return Label(layer.shape[::-1], (layer.weight, layer.bias), lambda w, b: w.T * gain + b * bias_gain)


@dataclass(frozen=True, slots=True)
class Mapping:
    """z, and perhaps a label, to w.  center: the key of w's mean, which may have a row per class."""

    layers: tuple[Dense, ...]
    label: Label | None
    center: str | None
    rows: int  # w per image
    eps: float = EPS  # of the pixel norm of z
    center_per_class: bool = False

    @property
    def classes(self) -> int:
        return self.label.shape[0] if self.label else 0

    @property
    def nz(self) -> int:
        return self.layers[0].shape[1] - (self.label.shape[1] if self.label else 0)

    @property
    def width(self) -> int:
        return self.layers[-1].shape[0]


@dataclass(frozen=True, slots=True)
class StyledConv:
    """A convolution of the file whose input channels a style scales.

    weight:   key of (O, I, k, k); `shape` is that, `scale` a factor of it
    taps:     key of the filter (4, 4) behind a convolution that doubles the size, `taps_gain` a factor of it
    noise:    keys of the stored plane and of its strength
    gain:     of the activation, which is a leaky ReLU
    bare:     whether the gain is of the convolution alone, not of the noise and the bias too
    clamp:    limit of the result
    """

    name: str
    affine: Dense
    weight: str
    shape: Shape
    bias: str
    scale: float = 1.0
    taps: str | None = None
    taps_gain: float = 4.0
    noise: tuple[str, str] | None = None
    side: int = 0
    gain: float = math.sqrt(2)
    bare: bool = False
    clamp: float | None = None

    @property
    def later_gain(self) -> float:
        """Factor of the noise and the bias."""
        return 1.0 if self.bare else self.gain
