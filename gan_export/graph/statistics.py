"""Estimate the mean and variance of the input of each BatchNorm, with latents from the prior.

The running statistics that the checkpoint stores were computed in training; comparing the two shows whether a reading
is right.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gan_export.graph.layers import BatchNorm
from gan_export.graph.spec import GeneratorSpec

if TYPE_CHECKING:
    import torch

    from gan_export.graph.torch_module import Weights

Doubles = npt.NDArray[np.float64]

SEED = 1  # seed of the latents
_BATCH = 64  # most latents in one forward pass


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and population variance per channel of the input of one BatchNorm, each float64 (C,)."""

    mean: Doubles
    var: Doubles


def divergence(found: Moments, stored: Moments) -> float:
    """Return KL(N(found) || N(stored)) in nats, averaged over the channels; infinite if a number is not finite.

    The BatchNorm's eps is not added to the variances: an eps of 0.8 would hide differences between smaller variances.
    Instead a thousandth of the median variance is added, so that channels with a constant value don't dominate.
    """
    floor = 1e-3 * float(np.median(stored.var)) + 1e-12
    with np.errstate(all="ignore"):
        ratio = (found.var + floor) / (stored.var + floor)
        shift = (found.mean - stored.mean) ** 2 / (stored.var + floor)
        mean = float(np.mean(0.5 * (ratio + shift - 1.0 - np.log(ratio))))
    return mean if math.isfinite(mean) else math.inf


def norms(spec: GeneratorSpec) -> list[BatchNorm]:
    """Return the BatchNorm layers of a spec, in order."""
    return [layer for layer in spec.layers if isinstance(layer, BatchNorm)]


def estimated(spec: GeneratorSpec, weights: Weights, count: int) -> Iterator[tuple[str, Moments]]:
    """Yield (name, moments) for the input of each BatchNorm in order, for `count` latents from the prior.

    The BatchNorms before it normalize by the moments that were yielded for them, not by their stored statistics.
    """
    import torch

    from gan_export.graph.torch_module import build_module, submodule_names

    module, names = build_module(spec, weights), submodule_names(spec)
    for norm in norms(spec):
        layer = module.get_submodule(names[norm.name])
        found = _moments(module, layer, spec, count)
        layer.running_mean.copy_(torch.from_numpy(found.mean))  # type: ignore[operator]
        layer.running_var.copy_(torch.from_numpy(found.var))  # type: ignore[operator]
        yield norm.name, found


class _Complete(Exception):
    """An exception that ends a forward pass when the BatchNorm has been reached."""


def _moments(module: torch.nn.Module, layer: torch.nn.Module, spec: GeneratorSpec, count: int) -> Moments:
    """Return the moments of the input of `layer`, a BatchNorm of `module`, for `count` latents."""
    import torch

    sums = _Sums()

    def add(_: object, arguments: tuple[torch.Tensor, ...]) -> None:
        sums.add(arguments[0])
        raise _Complete

    handle = layer.register_forward_pre_hook(add)
    try:
        with torch.inference_mode():
            for inputs in _inputs(spec, count):
                with contextlib.suppress(_Complete):
                    module(*inputs)
    finally:
        handle.remove()
    return sums.moments()


class _Sums:
    """Running sums of tensors (N, C, ...) per channel, in float64."""

    def __init__(self) -> None:
        self._total: Any = 0.0
        self._squares: Any = 0.0
        self._size = 0

    def add(self, x: torch.Tensor) -> None:
        import torch

        over = [d for d in range(x.dim()) if d != 1]
        self._total = self._total + x.sum(over, dtype=torch.float64).numpy()
        self._squares = self._squares + x.double().square_().sum(over).numpy()
        self._size += x.numel() // x.shape[1]

    def moments(self) -> Moments:
        mean = self._total / self._size
        return Moments(mean, np.maximum(self._squares / self._size - mean * mean, 0.0))


def _inputs(spec: GeneratorSpec, count: int) -> Iterator[tuple[torch.Tensor, ...]]:
    import torch

    for start in range(0, count, _BATCH):
        n = min(_BATCH, count - start)
        feeds = spec.signature.feeds(SEED, range(start, start + n))
        yield tuple(torch.from_numpy(array) for array in feeds.values())
