"""Lower a generator: every export, the other runtimes and the C engine use this form, which costs less to compute.

1. A BatchNorm in evaluation mode is an affine map per channel, and a ChannelBias adds to each channel.  If the input of
   such a layer comes from a layer with weights whose value nothing else reads, the map goes into that layer's weight
   and bias; otherwise an Affine layer replaces a BatchNorm, and a ChannelBias stays.  The new weights are computed in
   float64 and rounded once.
2. A 1x1 convolution of an upsampled image becomes the upsampling of a convolved image.  An upsampled value is a mean of
   values at a few pixels (at one, if nearest) with weights whose sum is 1, and a 1x1 convolution mixes channels and
   adds a bias in the same way at each pixel, so their order doesn't matter.  The convolution of the small image has
   1 / factor² of the products.
3. An activation of a concatenation becomes a concatenation of activations: a layer before it can apply its own, and a
   convolution can read the parts without a copy of both.
4. ReLU of x is ReLU of LeakyReLU of x.  If a LeakyReLU reads x before a ReLU does, as in a U-Net whose skips leave
   before the activation, the ReLU reads the LeakyReLU's value: then x may have no other reader, and the layer that
   gives it can apply the LeakyReLU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from gan_export.graph.layers import (
    Activation,
    Affine,
    BatchNorm,
    ChannelBias,
    Concat,
    Conv,
    ConvNd,
    ConvTranspose,
    ConvTransposeNd,
    Layer,
    Linear,
    Upsample,
    UpsampleNd,
)
from gan_export.graph.spec import GeneratorSpec

Weights = Mapping[str, npt.NDArray[np.float32]]
Doubles = npt.NDArray[np.float64]
Weighted = Linear | Conv | ConvTranspose | ConvNd | ConvTransposeNd  # layers that an affine map folds into


def lower(spec: GeneratorSpec, weights: Weights) -> tuple[GeneratorSpec, dict[str, npt.NDArray[np.float32]]]:
    """Return a spec of less work that computes the same function of its inputs, and the weights of that spec.

    Layers keep their names: an Affine has that of the BatchNorm it replaces.  The value of a name may be another one: a
    layer that a BatchNorm or a bias is folded into gives the value after it, and a convolution before an upsampling the
    small image.
    """
    arrays = {key: value.astype(np.float64) for key, value in weights.items()}
    layers, outputs = _fold_affine(spec.layers, spec.outputs, arrays)
    layers, outputs = _upsample_last(layers, outputs)
    layers = _share_activations(_activate_first(layers, outputs))
    lowered = replace(spec, layers=layers, outputs=outputs)
    return lowered, {key: np.ascontiguousarray(arrays[key], np.float32) for key in lowered.parameters()}


def _fold_affine(
    given: tuple[Layer, ...], outputs: tuple[str, ...], arrays: dict[str, Doubles]
) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """Return the layers without BatchNorm and biases of their own, and the names of the outputs' values.

    Update the weights in `arrays`.
    """
    readers = _readers(given, outputs)
    by_name = {layer.name: layer for layer in given}
    layers: dict[str, Layer] = {}
    stands_for: dict[str, str] = {}  # name of a folded layer -> the layer that now computes its value
    for layer in given:
        current = _reading(layer, stands_for)
        if not isinstance(current, BatchNorm | ChannelBias):
            layers[current.name] = current
            continue
        scale, shift = _affine(current, arrays)
        source = layer.inputs[0]
        before = by_name.get(source)
        if isinstance(before, Weighted) and readers[source] == 1:
            layers[source] = replace(before, inputs=layers[source].inputs, bias=True)
            _fold(before, arrays, scale, shift)
            stands_for[current.name] = source
        elif isinstance(current, ChannelBias):
            layers[current.name] = current
        else:
            layers[current.name] = Affine(name=current.name, inputs=current.inputs, channels=current.channels)
            arrays[f"{current.name}.weight"], arrays[f"{current.name}.bias"] = scale, shift
    return tuple(layers.values()), tuple(stands_for.get(value, value) for value in outputs)


def _affine(layer: BatchNorm | ChannelBias, arrays: Mapping[str, Doubles]) -> tuple[Doubles, Doubles]:
    """Return factors and summands per channel."""
    if isinstance(layer, ChannelBias):
        bias = arrays[f"{layer.name}.bias"]
        return np.ones_like(bias), bias
    scale = 1.0 / np.sqrt(arrays[f"{layer.name}.running_var"] + layer.eps)
    shift = -arrays[f"{layer.name}.running_mean"] * scale
    if layer.affine:
        weight = arrays[f"{layer.name}.weight"]
        scale, shift = scale * weight, shift * weight + arrays[f"{layer.name}.bias"]
    return scale, shift


def _fold(layer: Weighted, arrays: dict[str, Doubles], scale: Doubles, shift: Doubles) -> None:
    key, bias = f"{layer.name}.weight", f"{layer.name}.bias"
    weight = arrays[key]
    out_axis = 1 if isinstance(layer, ConvTranspose | ConvTransposeNd) else 0
    arrays[key] = weight * scale.reshape([-1 if axis == out_axis else 1 for axis in range(weight.ndim)])
    arrays[bias] = (arrays[bias] * scale if layer.bias else 0.0) + shift


def _upsample_last(given: tuple[Layer, ...], outputs: tuple[str, ...]) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """Return the layers with each 1x1 convolution before the upsampling that it alone reads, and the outputs' values.

    The upsampling moves to the place of the convolution, so that no large value waits for its reader.
    """
    readers = _readers(given, outputs)
    layers: dict[str, Layer] = {}
    stands_for: dict[str, str] = {}  # name of a convolution that moved -> the upsampling that now computes its value
    for layer in given:
        current = _reading(layer, stands_for)
        passed: list[Layer] = []  # of several upsamplings in a row, the last one first
        while _is_pointwise(current):
            before = layers.get(current.inputs[0])
            if not _enlarges(before) or readers[before.name] > 1:
                break
            passed.append(layers.pop(before.name))
            current = replace(current, inputs=before.inputs)
        layers[current.name] = current
        last = current.name
        for upsampling in reversed(passed):
            layers[upsampling.name] = replace(upsampling, inputs=(last,))
            last = upsampling.name
        if passed:
            stands_for[current.name] = last
            readers[last] = readers[current.name]
    return tuple(layers.values()), tuple(stands_for.get(value, value) for value in outputs)


def _activate_first(given: tuple[Layer, ...], outputs: tuple[str, ...]) -> tuple[Layer, ...]:
    """Return the layers with activations applied to the parts of a concatenation that nothing else reads.

    The concatenation takes the activation's name and place; an activation of part n has that name and `_n`.
    """
    readers = _readers(given, outputs)
    names = {layer.name for layer in given}
    layers: dict[str, Layer] = {}
    for layer in given:
        layers[layer.name] = layer
        before = layers.get(layer.inputs[0]) if isinstance(layer, Activation) else None
        if not isinstance(before, Concat) or readers[before.name] > 1:
            continue
        parts = {f"{layer.name}_{n}": part for n, part in enumerate(before.inputs)}
        if names & set(parts):
            continue
        del layers[before.name], layers[layer.name]
        layers |= {name: replace(layer, name=name, inputs=(part,)) for name, part in parts.items()}
        layers[layer.name] = replace(before, name=layer.name, inputs=tuple(parts))
    return tuple(layers.values())


def _share_activations(given: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Return the layers with each ReLU reading the LeakyReLU of its input, if there is one before it."""
    leaky: dict[str, str] = {}  # name of a value -> that of its LeakyReLU
    layers: list[Layer] = []
    for layer in given:
        match layer:
            case Activation(kind="leaky_relu") if layer.slope >= 0:
                leaky[layer.inputs[0]] = layer.name
                layers.append(layer)
            case Activation(kind="relu") if layer.inputs[0] in leaky:
                layers.append(replace(layer, inputs=(leaky[layer.inputs[0]],)))
            case _:
                layers.append(layer)
    return tuple(layers)


def _is_pointwise(layer: Layer) -> TypeGuard[Conv | ConvNd]:
    match layer:
        case Conv(kernel=1, stride=1, padding=0):
            return True
        case ConvNd():
            return {*layer.kernel, *layer.stride} == {1} and not any(layer.padding)
    return False


def _enlarges(layer: Layer | None) -> TypeGuard[Upsample | UpsampleNd]:
    """Return whether a layer is an upsampling, of whichever mode, that has a factor over 1."""
    match layer:
        case Upsample():
            return layer.factor > 1
        case UpsampleNd():
            return max(layer.factor) > 1
    return False


def _readers(layers: Iterable[Layer], outputs: Iterable[str]) -> Counter[str]:
    """Return how many layers and outputs read each value, by name."""
    return Counter([*(name for layer in layers for name in layer.inputs), *outputs])


def _reading(layer: Layer, stands_for: Mapping[str, str]) -> Layer:
    """Return the layer with inputs by the names of the layers that now compute them."""
    changed: Layer = replace(layer, inputs=tuple(stands_for.get(name, name) for name in layer.inputs))
    return changed
