"""The mean and variance of what each BatchNorm reads, on prior latents: one forward pass for all of them.

The stored running statistics are what the layers before gave in training; whoever compares the two needs these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gan_export.graph.layers import BatchNorm
from gan_export.graph.spec import GeneratorSpec, flops

if TYPE_CHECKING:
    import torch

    from gan_export.graph.torch_module import Weights

Doubles = npt.NDArray[np.float64]

SEED = 1  # of the latents
_BATCH = 64  # latents in one forward pass, at most
_FLOPS = 4e10  # of a whole estimate, where `enough` decides: about a second of one core
_FEWEST, _MOST = 16, 256


@dataclass(frozen=True, slots=True)
class Moments:
    """What one BatchNorm reads, per channel: mean and population variance, each float64 (C,)."""

    mean: Doubles
    var: Doubles


def enough(spec: GeneratorSpec) -> int:
    """Return how many latents settle the moments: 256, or fewer for a large generator, at least 16.

    A large generator has many values per channel in each image, and so needs few images.
    """
    return int(np.clip(_FLOPS // max(1, sum(flops(spec).values())), _FEWEST, _MOST))


def norms(spec: GeneratorSpec) -> list[BatchNorm]:
    """Return the BatchNorm layers of a spec, in order."""
    return [layer for layer in spec.layers if isinstance(layer, BatchNorm)]


def moments(spec: GeneratorSpec, weights: Weights, count: int) -> dict[str, Moments]:
    """Return the moments of each BatchNorm on `count` prior latents, by the layer's name.

    Every BatchNorm normalizes by its stored statistics; nothing behind the last one is run.
    """
    from gan_export.graph.torch_module import build_module, submodule_names

    module, names = build_module(spec, weights), submodule_names(spec)
    layers = {norm.name: module.get_submodule(names[norm.name]) for norm in norms(spec)}
    return _moments(module, layers, spec, count) if layers else {}


def estimated(spec: GeneratorSpec, weights: Weights, count: int) -> Iterator[tuple[str, Moments]]:
    """Yield the moments of each BatchNorm while the ones before it normalize by those that were yielded for them."""
    import torch

    from gan_export.graph.torch_module import build_module, submodule_names

    module, names = build_module(spec, weights), submodule_names(spec)
    for norm in norms(spec):
        layer = module.get_submodule(names[norm.name])
        found = _moments(module, {norm.name: layer}, spec, count)[norm.name]
        layer.running_mean.copy_(torch.from_numpy(found.mean))  # type: ignore[operator]
        layer.running_var.copy_(torch.from_numpy(found.var))  # type: ignore[operator]
        yield norm.name, found


class _Complete(Exception):
    """Ends a forward pass once every layer of interest has been reached."""


def _moments(
    module: torch.nn.Module, layers: dict[str, torch.nn.Module], spec: GeneratorSpec, count: int
) -> dict[str, Moments]:
    """Return the moments of what `layers`, of `module` and in its order, read on `count` latents."""
    import torch

    sums = {name: _Sums() for name in layers}

    def hook(name: str, is_last: bool) -> Callable[[object, tuple[torch.Tensor, ...]], None]:
        def add(_: object, arguments: tuple[torch.Tensor, ...]) -> None:
            sums[name].add(arguments[0])
            if is_last:
                raise _Complete

        return add

    last = next(reversed(layers))
    handles = [layer.register_forward_pre_hook(hook(name, name == last)) for name, layer in layers.items()]
    try:
        with torch.inference_mode():
            for inputs in _inputs(spec, count):
                try:
                    module(*inputs)
                except _Complete:
                    continue
    finally:
        for handle in handles:
            handle.remove()
    return {name: s.moments() for name, s in sums.items()}


class _Sums:
    """Running sums of (N, C, ...) per channel, in float64."""

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
