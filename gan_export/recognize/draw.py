"""Generate a few images of a reading, to see whether the images of two readings differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gan_export.graph.spec import GeneratorSpec, flops
from gan_export.graph.statistics import SEED
from gan_export.graph.walk import Walk

if TYPE_CHECKING:
    import torch

    from gan_export.graph.torch_module import Weights

Bytes = npt.NDArray[np.uint8]

COUNT = 8  # images per reading that are compared or shown
_MOST_FLOPS = 1e11  # limit for the images of one call of `images`
_WORK = 2e10  # limit for all images of one call of `differences`, about 1 s of one core


def images(spec: GeneratorSpec, weights: Weights, count: int = COUNT) -> Bytes | None:
    """Return the images of the prior's first latents, uint8 (N, H, W, C), with the stored BatchNorm statistics.

    Returns None if they take more than `_MOST_FLOPS`, or if the generator's first output is not an image.
    """
    import torch

    from gan_export.graph.torch_module import build_module

    if count * sum(flops(spec).values()) > _MOST_FLOPS:
        return None
    feeds = spec.signature.feeds(SEED, range(count))
    used: Mapping[str, npt.NDArray[np.float32]] = {name: weights[name] for name in spec.parameters()}
    with torch.inference_mode():
        made = build_module(spec, used, output="bytes")(*(torch.from_numpy(a) for a in feeds.values()))
    first: torch.Tensor = made if isinstance(made, torch.Tensor) else made[0]
    return first.numpy() if first.dtype == torch.uint8 else None


def differences(taken: GeneratorSpec, others: Sequence[GeneratorSpec], weights: Weights) -> tuple[float, ...]:
    """Return the largest difference of each reading's images from those of `taken`, in levels of 255.

    Infinite for a reading whose images have another shape, or aren't generated because they would exceed the limit.
    """
    first = Walk(taken, weights, training=False)
    count = int(np.clip(_WORK // (max(first.work, 1.0) * (1 + len(others))), 1, COUNT))
    affordable = int(_WORK // (max(first.work, 1.0) * count)) - 1
    if affordable < 1:
        return (math.inf,) * len(others)
    mine, (low, high) = _generated(first, count), taken.signature.outputs[0].range or (-1.0, 1.0)
    found = [math.inf] * len(others)
    for i, other in enumerate(others[:affordable]):
        walk = Walk(other, weights, training=False)
        if walk.work <= first.work and (image := _generated(walk, count)).shape == mine.shape:
            found[i] = float((image - mine).abs().max()) * 255.0 / (high - low)
    return tuple(found)


def _generated(walk: Walk, count: int) -> torch.Tensor:
    """Return the first output for the first `count` latents, float32 (count, C, H, W)."""
    return walk.run(walk.start(count), len(walk.spec.layers)).values[walk.spec.outputs[0]]
