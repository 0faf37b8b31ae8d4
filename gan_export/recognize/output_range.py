"""Compare the last activation that a reading assumes with the values before it, for latents of the prior.

Without a last activation, these values are the image: in [-1, 1] or [0, 1], or up to 2.9 if a script normalizes by mean
and standard deviation.  Values far outside were made for tanh or a sigmoid.  Between these two the values decide
nothing: tanh(x) = 2 sigmoid(2x) - 1, so that the images differ only in contrast, and either can be in training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gan_export.graph.layers import Activation
from gan_export.graph.spec import GeneratorSpec

if TYPE_CHECKING:
    from gan_export.graph.torch_module import Weights

FAR = 4.0  # beyond any usual normalization of images: white in MNIST's is 2.82, and color images reach 2.64
SHARE = 1e-3  # least share of values beyond `FAR` that rules out an image without a last activation
_IMAGES = 32  # most images
_WORK = 5e9  # limit for all images in operations, about 0.3 s of one core


@dataclass(frozen=True, slots=True)
class OutputRange:
    """The values before the last activation: the middle 99.8 percent lie in low .. high, and `far` is the share beyond
    `FAR`."""

    low: float
    high: float
    far: float

    @property
    def needs_activation(self) -> bool:
        return self.far >= SHARE

    def __str__(self) -> str:
        span = f"the values before it lie in {self.low:.2g} to {self.high:.2g}"
        return f"{span}, too far for none" if self.needs_activation else f"{span}, which rules out nothing"


def measure(spec: GeneratorSpec, weights: Weights) -> OutputRange | None:
    """Run the generator with its stored statistics; None if it takes more work than is done here."""
    import torch

    from gan_export.graph.walk import Walk

    names = [la.name for la in spec.layers]
    last = spec.layers[names.index(spec.outputs[0])]
    while not (isinstance(last, Activation) and last.kind in ("tanh", "sigmoid")) and not last.parameters():
        if last.inputs[0] not in names:
            return None
        last = spec.layers[names.index(last.inputs[0])]
    before = last.inputs[0] if isinstance(last, Activation) else last.name
    walk = Walk(spec, weights, training=False)
    count = int(min(_WORK // max(walk.work, 1.0), _IMAGES))
    if count < 1:
        return None
    values = walk.run(walk.start(count), names.index(before) + 1).values[before]
    if not bool(torch.isfinite(values).all()):
        return None
    low, high = np.quantile(values.numpy(), (0.001, 0.999))
    return OutputRange(float(low), float(high), float((values.abs() > FAR).float().mean()))
