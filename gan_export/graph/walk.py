"""Run a generator's layers one by one on latents from the prior, in bounded time and memory.

In training, each BatchNorm normalizes by the statistics of the batch, and its running statistics are averages of these.
A walk in training mode does the same, so its moments can be compared with the running statistics that a checkpoint
stores.  Because each BatchNorm normalizes again, a wrong layer changes the moments of the next BatchNorm and hardly
those of later ones.  A walk in evaluation mode normalizes by the stored statistics, as an export does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gan_export.graph.layers import BatchNorm, Concat, Layer
from gan_export.graph.spec import GeneratorSpec, flops, infer_shapes
from gan_export.graph.statistics import SEED, Moments

if TYPE_CHECKING:
    import torch
    from torch import nn

    from gan_export.graph.torch_module import Weights

Function = Callable[..., "torch.Tensor"]

LATENTS = 256  # images at the start of a walk
_FEWEST = 8  # images that every layer is run on
_VALUES = 1 << 20  # values in one layer's output, 4 MiB: a layer with a larger output is run on fewer images
# Values of one layer's output for _FEWEST images, 64 MiB; the work of a larger layer is infinite.
_MOST_VALUES = 1 << 24
_WORK = 1e8  # operations of one layer, about 4 ms of one core: a layer with more is run on fewer images
_PER_VALUE = 32  # operations that take as long as writing and reading one value of a layer's output
_NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True, slots=True)
class Place:
    """A state of a walk between two layers.

    values: name -> tensor (count, ...), for each value that a later layer or an output reads
    count:  number of images
    at:     index of the next layer in the spec
    """

    values: Mapping[str, torch.Tensor]
    count: int
    at: int = 0


class Walk:
    """An interpreter that runs the layers of a spec from one `Place` to another.

    `run` can replace layers by others; a replacement that is not in the spec must be a layer without parameters, or a
    function of tensors.
    """

    def __init__(self, spec: GeneratorSpec, weights: Weights, *, training: bool = True) -> None:
        self.spec = spec
        self._training = training
        self._shapes = infer_shapes(spec)
        self._work = {la: float(n) + _PER_VALUE * math.prod(self._shapes[la]) for la, n in flops(spec).items()}
        self._modules = {la.name: self._module(la, weights) for la in spec.layers if not isinstance(la, Concat)}
        self._last_reader = {name: i for i, la in enumerate(spec.layers) for name in la.inputs}
        for name in spec.outputs:
            self._last_reader[name] = len(spec.layers)

    def start(self, count: int = LATENTS) -> Place:
        """Return the place before the first layer, with the first `count` latents of the prior."""
        import torch

        feeds = self.spec.signature.feeds(SEED, range(count))
        return Place({name: torch.from_numpy(array) for name, array in feeds.items()}, count)

    @property
    def work(self) -> float:
        """The work of one image in operations; infinite if a layer's output is too large for a walk."""
        if any(_FEWEST * math.prod(self._shapes[la.name]) > _MOST_VALUES for la in self.spec.layers):
            return math.inf
        return sum(self._work.values())

    def cost(self, start: int, stop: int) -> float:
        """Return the work to run the layers `start` .. `stop` - 1 once from the start of a walk, in operations.

        A floating-point operation counts as 1, and each value of a layer's output as _PER_VALUE.  Infinite if a layer's
        output has more than _MOST_VALUES values for _FEWEST images.
        """
        layers = self.spec.layers[start:stop]
        if any(_FEWEST * math.prod(self._shapes[la.name]) > _MOST_VALUES for la in layers):
            return math.inf
        return sum(self._work[la.name] * self._images(la) for la in layers)

    def held(self, stop: int) -> int:
        """Return the bytes of the values that a place before layer `stop` keeps."""
        layers = self.spec.layers[:stop]
        count = min((self._images(la) for la in layers), default=LATENTS)
        kept = (la for la in layers if self._last_reader.get(la.name, -1) >= stop)
        return 4 * count * sum(math.prod(self._shapes[la.name]) for la in kept)

    def _images(self, layer: Layer) -> int:
        """Return the largest number of images that `layer` is run on, _FEWEST to LATENTS."""
        values = max(math.prod(self._shapes[layer.name]), 1)
        return int(np.clip(min(_VALUES / values, _WORK / max(self._work[layer.name], 1.0)), _FEWEST, LATENTS))

    def run(self, place: Place, stop: int, instead: Mapping[str, Layer | Function] = {}) -> Place:
        """Run the layers from `place` to `stop` - 1 and return the place before layer `stop`.

        instead: name of a layer -> the layer or the function to run in its place
        """
        import torch

        values, count = dict(place.values), place.count
        with torch.inference_mode():
            for i in range(place.at, stop):
                la = self.spec.layers[i]
                if (fewer := min(count, self._images(la))) < count:
                    values, count = {name: v[:fewer] for name, v in values.items()}, fewer
                values[la.name] = self._one(instead.get(la.name, la), [values[name] for name in la.inputs])
                values = {name: v for name, v in values.items() if self._last_reader.get(name, -1) > i}
        return Place(values, count, stop)

    def _one(self, la: Layer | Function, given: list[torch.Tensor]) -> torch.Tensor:
        import torch

        if callable(la):
            return la(*given)
        if isinstance(la, Concat):
            return torch.cat(given, 1)
        if isinstance(la, BatchNorm):
            weight, bias, *stored = (getattr(self._modules[la.name], p) for p in _NORM)
            mean, variance = (None, None) if self._training else stored
            return torch.nn.functional.batch_norm(
                given[0], mean, variance, weight, bias, training=self._training, eps=la.eps
            )
        module = self._modules[la.name] if la in self.spec.layers else self._module(la, {})
        made: torch.Tensor = module(*given)
        return made

    def _module(self, la: Layer, weights: Weights) -> nn.Module:
        """Return a layer's module, whose parameters share the memory of the arrays in `weights`, without a copy."""
        import torch

        from gan_export.graph.torch_layers import BUILDERS

        names = la.parameters()
        with torch.device("meta" if names else "cpu"):
            module = BUILDERS[type(la)](la, tuple(self._shapes[i] for i in la.inputs))
        owned = {p: torch.from_numpy(weights[f"{la.name}.{p}"]) for p in names}
        module.load_state_dict(owned, strict=False, assign=True)
        return module.eval().requires_grad_(False)


def stored_moments(spec: GeneratorSpec, weights: Weights) -> Iterator[tuple[str, Moments]]:
    """Yield (name, moments) for the input of each BatchNorm in order, for latents from the prior.

    Each BatchNorm normalizes by its stored statistics.  Ends before the first layer that is too large for a walk.
    """
    walk = Walk(spec, weights, training=False)
    place = walk.start()
    for stop, la in enumerate(spec.layers):
        if isinstance(la, BatchNorm):
            if math.isinf(walk.cost(place.at, stop)):
                return
            place = walk.run(place, stop)
            yield la.name, moments_of(place.values[la.inputs[0]])


def moments_of(x: torch.Tensor) -> Moments:
    """Return the mean and population variance of a tensor (N, C, ...) per channel, as float64 (C,)."""
    import torch

    variance, mean = torch.var_mean(x, [d for d in range(x.dim()) if d != 1], correction=0)
    return Moments(mean.double().numpy(), variance.double().numpy())
