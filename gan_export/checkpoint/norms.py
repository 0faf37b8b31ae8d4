"""Fold spectral and weight normalization into the weight, as PyTorch computes it in evaluation mode.

Sources: torch/nn/utils/spectral_norm.py, weight_norm.py, parametrizations.py.  Sums are computed in float64, so
the result differs from PyTorch's only by rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from gan_export.checkpoint.containers.tensors import Float32, Tensor

# (suffix of the raw weight, suffixes of the tensors that normalize it), by the names of the hooks, of a common
# hand-written class, and of torch.nn.utils.parametrizations.
_SPECTRAL = (
    ("weight_orig", "weight_u", "weight_v"),
    ("weight_bar", "weight_u", "weight_v"),
    ("parametrizations.weight.original", "parametrizations.weight.0._u", "parametrizations.weight.0._v"),
)
_WEIGHT = (
    ("weight_v", "weight_g"),
    ("parametrizations.weight.original1", "parametrizations.weight.original0"),
)


@dataclass(frozen=True, slots=True)
class Array:
    """A weight as the network uses it, not computed yet.  keys: the keys from which it is computed."""

    shape: tuple[int, ...]
    keys: tuple[str, ...]
    load: Callable[[], Float32]


@dataclass(frozen=True, slots=True)
class Folded:
    """A state dict without normalizations.  arrays: by key, in the table's order.  notes: the normalizations folded."""

    arrays: dict[str, Array]
    notes: tuple[str, ...]


def fold(tensors: Mapping[str, Tensor]) -> Folded:
    """Return the arrays of a state dict, with each normalized weight as one array.

    Loading an array raises GanExportError if the shapes of its normalization don't agree.
    """
    found = {a.keys[0]: (name, a, kind) for name, a, kind in _normalized(tensors)}
    spent = {k for _, a, _ in found.values() for k in a.keys}
    stale = {name for name, _, _ in found.values()}  # early versions stored the computed weight too
    arrays: dict[str, Array] = {}
    for key, tensor in tensors.items():
        if key in found:
            arrays[found[key][0]] = found[key][1]
        elif key not in spent and key not in stale:
            arrays[key] = Array(tensor.shape, (key,), tensor.floats)
    counts = {kind: sum(k == kind for _, _, k in found.values()) for kind in ("spectral", "weight")}
    notes = tuple(f"{kind} normalization folded into {n} weight{'s' * (n > 1)}" for kind, n in counts.items() if n)
    return Folded(arrays, notes)


def _normalized(tensors: Mapping[str, Tensor]) -> list[tuple[str, Array, str]]:
    """Return (key of the weight, its array, kind of normalization) of every normalized weight."""
    result: list[tuple[str, Array, str]] = []
    taken: set[str] = set()
    for raw, u, v in _SPECTRAL:
        for prefix in _prefixes(tensors, raw):
            weight, left, right = tensors[prefix + raw], tensors.get(prefix + u), tensors.get(prefix + v)
            if left is None or not _spectral_axes(weight.shape, left, right):
                continue
            keys = tuple(k for k in (prefix + raw, prefix + u, prefix + v) if k in tensors)
            load = _bound(spectral, weight, left, right)
            result.append((f"{prefix}weight", Array(weight.shape, keys, load), "spectral"))
            taken.update(keys)
    for raw, g in _WEIGHT:
        for prefix in _prefixes(tensors, raw):
            weight, gain = tensors[prefix + raw], tensors.get(prefix + g)
            if gain is None or prefix + raw in taken or _gain_axes(weight.shape, gain.shape) is None:
                continue
            load = _bound(weight_norm, weight, gain)
            result.append((f"{prefix}weight", Array(weight.shape, (prefix + raw, prefix + g), load), "weight"))
    return result


def _prefixes(tensors: Mapping[str, Tensor], suffix: str) -> list[str]:
    return [k[: -len(suffix)] for k in tensors if k == suffix or k.endswith("." + suffix)]


def _bound(function: Callable[..., Float32], *tensors: Tensor | None) -> Callable[[], Float32]:
    return lambda: function(*(None if t is None else t.floats() for t in tensors))


def _spectral_axes(shape: tuple[int, ...], u: Tensor, v: Tensor | None) -> list[int]:
    """Return the axes that can have `u`'s length: 0 for most layers, 1 for transposed convolutions."""
    return [
        axis
        for axis in range(min(len(shape), 2))
        if u.shape == (shape[axis],) and (v is None or v.shape == (math.prod(shape) // max(shape[axis], 1),))
    ]


def spectral(weight: Float32, u: Float32, v: Float32 | None) -> Float32:
    """Return weight / (u . W v), for W the weight as a matrix whose rows are u's axis.

    If two axes have u's length, the file doesn't show which one is right.  Training leaves u = W v / |W v|, of the
    weight before its last step, so the axis along which u and W v agree best is used.
    """
    sigmas: list[tuple[float, float]] = []  # how well they agree, u . W v
    for axis in range(min(weight.ndim, 2)):
        if weight.shape[axis] != u.size:
            continue
        matrix = np.moveaxis(weight, axis, 0).reshape(u.size, -1).astype(np.float64)
        left = u.astype(np.float64)
        with np.errstate(all="ignore"):
            right = matrix.T @ left if v is None else v.astype(np.float64)
            right = right / np.linalg.norm(right) if v is None else right
            image = matrix @ right
            sigma = float(left @ image)
            agreement = float(np.abs(sigma) / (np.linalg.norm(left) * np.linalg.norm(image)))
        sigmas.append((-math.inf if math.isnan(agreement) else agreement, sigma))
    _, sigma = max(sigmas, key=lambda s: s[0])
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(weight / np.float64(sigma), np.float32)


def _gain_axes(shape: tuple[int, ...], gain: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the axes of the norm, from the gain's shape; None if the shapes don't agree."""
    every = tuple(range(len(shape)))
    if not gain:
        return every
    if len(gain) != len(shape) or any(g not in (1, s) for g, s in zip(gain, shape, strict=True)):
        return None
    kept = [i for i in every if gain[i] != 1 or shape[i] == 1]
    # One axis is kept; if several have one element, each gives the same result.
    return tuple(i for i in every if i not in kept) if kept else None


def weight_norm(v: Float32, gain: Float32) -> Float32:
    """Return v x gain / |v|, with the norm over all axes except the gain's."""
    axes = _gain_axes(v.shape, gain.shape)
    with np.errstate(all="ignore"):
        norm = np.sqrt(np.sum(np.square(v.astype(np.float64)), axis=axes, keepdims=bool(gain.ndim)))
        return np.ascontiguousarray(v * (gain / norm), np.float32)
