"""A generator's spec as a module that trains, and that also returns values between its layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gan_export.graph.layers import Concat, Embedding, Shape
from gan_export.graph.narrow import CHOOSES
from gan_export.graph.spec import GeneratorSpec, infer_shapes
from gan_export.graph.torch_layers import BUILDERS

Weights = Mapping[str, npt.NDArray[np.float32]]


class Network(nn.Module):
    """A generator's layers, with torch's own initial weights from torch's global random state, in training mode.

    forward(feeds, kept) takes the inputs by their names, and returns the values named in `kept`, which may be outputs
    of the spec or of any layer.  BatchNorm uses the batch's statistics in training mode, as in any module.
    """

    def __init__(self, spec: GeneratorSpec) -> None:
        super().__init__()
        shapes = infer_shapes(spec)
        self.spec = spec
        self.parts = nn.ModuleList(
            nn.Identity() if isinstance(la, Concat) else BUILDERS[type(la)](la, tuple(shapes[i] for i in la.inputs))
            for la in spec.layers
        )
        self._last = {name: i for i, la in enumerate(spec.layers) for name in la.inputs}

    def forward(self, feeds: Mapping[str, Tensor], kept: Collection[str]) -> dict[str, Tensor]:
        values = dict(feeds)
        for i, (la, part) in enumerate(zip(self.spec.layers, self.parts, strict=True)):
            given = [values[name] for name in la.inputs]
            values[la.name] = torch.cat(given, 1) if isinstance(la, Concat) else part(*given)
            for name in la.inputs:
                if self._last[name] == i and name not in kept:
                    values.pop(name, None)
        return {name: values[name] for name in kept}

    def image(self, feeds: Mapping[str, Tensor]) -> Tensor:
        """Return the first output."""
        name = self.spec.outputs[0]
        made: Tensor = self(feeds, (name,))[name]
        return made

    @torch.no_grad()
    def take(self, weights: Weights) -> None:
        """Copy the arrays of `weights`, `layer.param`, into every layer all of whose parameters have their shapes."""
        for la, part in zip(self.spec.layers, self.parts, strict=True):
            names = la.parameters()
            if all(weights[f"{la.name}.{p}"].shape == shape for p, shape in names.items()):
                held = part.state_dict()
                for p in names:
                    held[p].copy_(torch.from_numpy(weights[f"{la.name}.{p}"]))

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return every parameter and statistic of the spec, `layer.param`, as new arrays."""
        held = {la.name: part.state_dict() for la, part in zip(self.spec.layers, self.parts, strict=True)}
        return {
            f"{la.name}.{p}": held[la.name][p].detach().cpu().float().contiguous().numpy().copy()
            for la in self.spec.layers
            for p in la.parameters()
        }


def taps(spec: GeneratorSpec) -> tuple[str, ...]:
    """Return the values between the layers that stand for what the generator knows at each size of its image.

    They are a value of each height and width that a layer enlarges, and what the last layer with a matrix of weights
    reads.  In a stack of Linears, they are what each Linear but the first reads.
    """
    shapes = infer_shapes(spec)
    given = {port.name for port in spec.signature.inputs}  # values that no matrix of weights has changed
    for la in spec.layers:
        if given.issuperset(la.inputs) and (isinstance(la, Embedding) or not isinstance(la, CHOOSES)):
            given.add(la.name)
    reads = [(la, name) for la in spec.layers for name in la.inputs[:1] if name not in given]
    images = [(la, name) for la, name in reads if len(shapes[name]) == 3 and shapes[name][1:] != (1, 1)]
    last = next(la for la in reversed(spec.layers) if isinstance(la, CHOOSES))
    if not images:
        return tuple(dict.fromkeys(name for la, name in reads if isinstance(la, CHOOSES)))
    found: dict[Shape, str] = {}
    for la, name in images:
        if shapes[la.name][1:] != shapes[name][1:] or la is last:
            found.setdefault(shapes[name], name)
    return tuple(found.values())
