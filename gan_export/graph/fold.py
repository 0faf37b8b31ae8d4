"""Fold BatchNorm into the layers before it: every export and the C engine use the folded form of a generator.

A BatchNorm in evaluation mode is an affine map per channel.  If its input is a layer with weights whose value no other
layer reads, the map goes into that layer's weight and bias; otherwise an Affine layer replaces the BatchNorm.  The new
weights are computed in float64 and rounded once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gan_export.graph.layers import Affine, BatchNorm, Conv, ConvNd, ConvTranspose, ConvTransposeNd, Layer, Linear
from gan_export.graph.spec import GeneratorSpec

Weights = Mapping[str, npt.NDArray[np.float32]]
Doubles = npt.NDArray[np.float64]
Weighted = Linear | Conv | ConvTranspose | ConvNd | ConvTransposeNd  # layers that a BatchNorm folds into


def fold_batchnorm(spec: GeneratorSpec, weights: Weights) -> tuple[GeneratorSpec, dict[str, npt.NDArray[np.float32]]]:
    """Return a spec without BatchNorm that computes the same function of its inputs, and the weights of that spec.

    A layer that a BatchNorm is folded into keeps its own name; an Affine has the name of the BatchNorm it replaces.
    """
    readers = Counter(name for layer in spec.layers for name in layer.inputs)
    by_name = {layer.name: layer for layer in spec.layers}
    layers: dict[str, Layer] = {}
    arrays = {key: value.astype(np.float64) for key, value in weights.items()}
    stands_for: dict[str, str] = {}  # name of a folded BatchNorm -> the layer that now computes its value
    for layer in spec.layers:
        current: Layer = replace(layer, inputs=tuple(stands_for.get(i, i) for i in layer.inputs))
        if not isinstance(current, BatchNorm):
            layers[current.name] = current
            continue
        scale, shift = _affine(current, arrays)
        source = layer.inputs[0]
        before = by_name.get(source)
        if isinstance(before, Weighted) and readers[source] == 1:
            layers[source] = replace(before, inputs=layers[source].inputs, bias=True)
            _fold(before, arrays, scale, shift)
            stands_for[current.name] = source
        else:
            layers[current.name] = Affine(name=current.name, inputs=current.inputs, channels=current.channels)
            arrays[f"{current.name}.weight"], arrays[f"{current.name}.bias"] = scale, shift
    outputs = tuple(stands_for.get(value, value) for value in spec.outputs)
    lowered = replace(spec, layers=tuple(layers.values()), outputs=outputs)
    return lowered, {key: np.ascontiguousarray(arrays[key], np.float32) for key in lowered.parameters()}


def _affine(norm: BatchNorm, arrays: Mapping[str, Doubles]) -> tuple[Doubles, Doubles]:
    scale = 1.0 / np.sqrt(arrays[f"{norm.name}.running_var"] + norm.eps)
    shift = -arrays[f"{norm.name}.running_mean"] * scale
    if norm.affine:
        weight = arrays[f"{norm.name}.weight"]
        scale, shift = scale * weight, shift * weight + arrays[f"{norm.name}.bias"]
    return scale, shift


def _fold(layer: Weighted, arrays: dict[str, Doubles], scale: Doubles, shift: Doubles) -> None:
    key, bias = f"{layer.name}.weight", f"{layer.name}.bias"
    weight = arrays[key]
    out_axis = 1 if isinstance(layer, ConvTranspose | ConvTransposeNd) else 0
    arrays[key] = weight * scale.reshape([-1 if axis == out_axis else 1 for axis in range(weight.ndim)])
    arrays[bias] = (arrays[bias] * scale if layer.bias else 0.0) + shift
