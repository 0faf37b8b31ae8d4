"""BatchNorm that a label scales and shifts, as a scale and a shift that two Linear layers give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gan_export.graph.layers import Linear, ScaleChannels, ShiftChannels
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.state_dict import DoesNotFitError, Module

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OfLabel:
    """A fully connected layer that turns the label's features into a number per channel.

    module:  its arrays; `weight` is (channels, features)
    keys:    of the arrays that `weight` is computed from
    weight:  what computes it in float64; None takes the first array as it is
    bias:    whether `module` has a bias (channels,)
    """

    module: Module
    keys: tuple[str, ...]
    compute: Callable[..., Doubles] | None = None
    bias: bool = False

    def weight(self, *arrays: Doubles) -> Doubles:
        """Return the weight (channels, features), from the arrays of `keys`."""
        return arrays[0] if self.compute is None else self.compute(*arrays)

    @property
    def bias_keys(self) -> tuple[str, ...]:
        return (f"{self.module.key}.bias",) if self.bias else ()


def _same(array: Doubles) -> Doubles:
    return array


@dataclass(frozen=True, slots=True)
class Statistics:
    """The stored mean and variance of a norm's channels.

    mean, var: names of the module's arrays, (*rows, channels); pick: returns the (channels,) in use from one of them
    """

    module: Module
    mean: str = "stored_mean"
    var: str = "stored_var"
    rows: tuple[int, ...] = ()
    pick: Callable[[Doubles], Doubles] = _same

    @property
    def keys(self) -> tuple[str, str]:
        return f"{self.module.key}.{self.mean}", f"{self.module.key}.{self.var}"


def conditional_norm(
    draft: SpecBuilder, name: str, *, x: str, y: str, stored: Statistics, eps: float, gain: OfLabel, shift: OfLabel
) -> None:
    """Append (x - mean) / √(var + eps) × (1 + gain(y)) + shift(y).

    x: the layer that is normalized.  y: the label's features.
    Raises DoesNotFitError if the shapes contradict each other.
    """
    width, inside = draft.shapes[x][0], draft.shapes[y][0]
    shape = (width, inside)
    arrays, pick = stored.module.arrays, stored.pick
    statistics = {arrays.get(stored.mean), arrays.get(stored.var)}
    biases = [part.module.arrays.get("bias") for part in (gain, shift) if part.bias]
    fits = statistics == {(*stored.rows, width)} and set(biases) <= {(width,)}
    if gain.module.weight != shape or shift.module.weight != shape or not fits:
        parts = f"{gain.module}, {shift.module} and {stored.module}"
        raise DoesNotFitError(f"{stored.module.key}: {parts} don't fit {width} channels and {inside} features")
    mean, var = stored.keys
    many = len(gain.keys)

    def inverse(var: Doubles) -> Doubles:
        return np.asarray(1 / np.sqrt(pick(var) + eps))

    def scale_bias(var: Doubles, *bias: Doubles) -> Doubles:
        return np.asarray((1 + sum(bias)) * inverse(var))

    def shift_weight(mean: Doubles, var: Doubles, *rest: Doubles) -> Doubles:
        return shift.weight(*rest[many:]) - gain.weight(*rest[:many]) * (pick(mean) * inverse(var))[:, None]

    def shift_bias(mean: Doubles, var: Doubles, *biases: Doubles) -> Doubles:
        of_gain = biases[: len(gain.bias_keys)]
        return np.asarray(sum(biases[len(of_gain) :]) - pick(mean) * scale_bias(var, *of_gain))

    def linear(layer: str) -> None:
        draft.add(Linear, layer, inputs=(y,), in_features=inside, out_features=width)

    linear(f"{name}_scale")
    draft.derive(
        f"{name}_scale.weight", (var, *gain.keys), shape, lambda v, *g: gain.weight(*g) * inverse(v)[:, None]
    )  # fmt: skip
    draft.derive(f"{name}_scale.bias", (var, *gain.bias_keys), (width,), scale_bias)
    linear(f"{name}_shift")
    draft.derive(f"{name}_shift.weight", (mean, var, *gain.keys, *shift.keys), shape, shift_weight)
    draft.derive(f"{name}_shift.bias", (mean, var, *gain.bias_keys, *shift.bias_keys), (width,), shift_bias)
    draft.add(ScaleChannels, f"{name}_scaled", inputs=(x, f"{name}_scale"))
    draft.add(ShiftChannels, name, inputs=(f"{name}_scaled", f"{name}_shift"))
