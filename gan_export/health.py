"""Do BatchNorm's stored statistics fit what prior latents give?

Many training scripts draw their previews in train mode, with each batch's own statistics.  An export draws in
evaluation mode, with the running ones, and where those are off the pictures differ from the previews.  Here the
two are compared and, on request, the running ones are estimated anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gan_export.arch.layers import BatchNorm
from gan_export.arch.spec import GeneratorSpec
from gan_export.errors import GanExportError

if TYPE_CHECKING:
    import torch

    from gan_export.checkpoint import Checkpoint

Doubles = npt.NDArray[np.float64]

SEED = 1  # of the latents that statistics are taken from
COUNT = 256
LIMIT = 0.25  # nats a channel: a mean off by 0.7 standard deviations, or a variance off by a factor of 2.5
_PIECE = 64


@dataclass(frozen=True, slots=True)
class NormHealth:
    """One BatchNorm: how far its stored statistics lie from those of prior latents.

    divergence: mean over channels of the Kullback-Leibler divergence of two normal distributions, in nats
    """

    layer: str
    divergence: float
    finite: bool

    @property
    def fits(self) -> bool:
        """Whether an export will draw about what train mode draws."""
        return self.finite and self.divergence <= LIMIT


def check(checkpoint: Checkpoint, count: int = COUNT) -> tuple[NormHealth, ...]:
    """Each BatchNorm of the generator, judged on `count` prior latents with the layers before it as stored."""
    result = []
    for norm, mean, var in _statistics(checkpoint, count, recalibrate=False):
        stored_mean, stored_var = _stored(checkpoint, norm)
        finite = bool(np.isfinite(stored_mean).all() and np.isfinite(stored_var).all() and (stored_var >= 0).all())
        divergence = _divergence(mean, var, stored_mean, stored_var, norm.eps) if finite else math.inf
        result.append(NormHealth(norm.name, divergence, finite))
    return tuple(result)


def warning(norms: tuple[NormHealth, ...]) -> str | None:
    """One line for a user where any BatchNorm is off; None where all fit."""
    off = [norm for norm in norms if not norm.fits]
    if not off:
        return None
    worst = max(off, key=lambda n: n.divergence)
    return (
        f"BatchNorm's stored statistics are not those that latents give ({len(off)} of {len(norms)} layers, "
        f"{worst.layer} most): pictures will differ from previews drawn in train mode; "
        "--recalibrate 1024 estimates them anew"
    )


def refuse_unusable(checkpoint: Checkpoint) -> None:
    """Raises GanExportError for statistics that are not finite, or variances below zero."""
    for norm in _norms(checkpoint.spec):
        mean, var = _stored(checkpoint, norm)
        if not (np.isfinite(mean).all() and np.isfinite(var).all() and (var >= 0).all()):
            raise GanExportError(
                f"{norm.name}: its running statistics are NaN, infinite or negative; --recalibrate 1024 estimates them"
            )


def recalibrated(checkpoint: Checkpoint, count: int) -> Checkpoint:
    """The checkpoint with every BatchNorm's running statistics estimated from `count` prior latents.

    Layer by layer, each after those before it; population variance; summed in float64.  Deterministic.
    """
    if count < 2:
        raise GanExportError(f"--recalibrate {count}: at least 2 latents are needed")
    weights = dict(checkpoint.weights)
    for norm, mean, var in _statistics(checkpoint, count, recalibrate=True):
        weights[f"{norm.name}.running_mean"] = mean.astype(np.float32)
        weights[f"{norm.name}.running_var"] = var.astype(np.float32)
    return replace(checkpoint, weights=weights)


def _statistics(
    checkpoint: Checkpoint, count: int, *, recalibrate: bool
) -> Iterator[tuple[BatchNorm, Doubles, Doubles]]:
    """Each BatchNorm with the mean and variance a channel of what it reads, in the order of the layers."""
    import torch

    from gan_export.module import submodule_names, to_module

    spec = checkpoint.spec
    module, names = to_module(spec, checkpoint.weights), submodule_names(spec)
    for norm in _norms(spec):
        total: Any = 0.0
        squares: Any = 0.0
        size = 0
        for inputs in _inputs(spec, count):
            x = _input_of(module.get_submodule(names[norm.name]), module, inputs)
            total = total + x.sum(dim=1).numpy()
            squares = squares + (x * x).sum(dim=1).numpy()
            size += x.shape[1]
        mean = total / size
        var = np.maximum(squares / size - mean * mean, 0.0)
        if recalibrate:
            layer = module.get_submodule(names[norm.name])
            layer.running_mean.copy_(torch.from_numpy(mean))  # type: ignore[operator]
            layer.running_var.copy_(torch.from_numpy(var))  # type: ignore[operator]
        yield norm, mean, var


def _inputs(spec: GeneratorSpec, count: int) -> Iterator[tuple[torch.Tensor, ...]]:
    import torch

    for start in range(0, count, _PIECE):
        n = min(_PIECE, count - start)
        feeds = spec.signature.feeds(SEED, range(start, start + n))
        yield tuple(torch.from_numpy(array) for array in feeds.values())


class _Reached(Exception):
    """Ends a forward pass at the layer of interest."""


def _input_of(layer: torch.nn.Module, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """What `layer` of `module` reads, float64 (C, everything else); later layers are not run."""
    import torch

    caught: list[torch.Tensor] = []

    def catch(_: object, arguments: tuple[torch.Tensor, ...]) -> None:
        caught.append(arguments[0])
        raise _Reached

    handle = layer.register_forward_pre_hook(catch)
    try:
        with torch.inference_mode():
            module(*inputs)
    except _Reached:
        pass
    finally:
        handle.remove()
    return caught[0].double().transpose(0, 1).flatten(1)


def _norms(spec: GeneratorSpec) -> list[BatchNorm]:
    return [layer for layer in spec.layers if isinstance(layer, BatchNorm)]


def _stored(checkpoint: Checkpoint, norm: BatchNorm) -> tuple[Doubles, Doubles]:
    mean = checkpoint.weights[f"{norm.name}.running_mean"].astype(np.float64)
    return mean, checkpoint.weights[f"{norm.name}.running_var"].astype(np.float64)


def _divergence(mean: Doubles, var: Doubles, stored_mean: Doubles, stored_var: Doubles, eps: float) -> float:
    """KL of N(mean, var) from N(stored_mean, stored_var), each variance with eps, averaged over the channels."""
    ratio = (var + eps) / (stored_var + eps)
    shift = (mean - stored_mean) ** 2 / (stored_var + eps)
    return float(np.mean(0.5 * (ratio + shift - 1.0 - np.log(ratio))))
