"""The features in which a student learns from its teacher: the teacher's own layers, or those of another network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_export.errors import GanExportError, printable
from gan_export.graph.spec import GeneratorSpec, infer_shapes
from gan_export.metrics import evaluators
from gan_export.metrics.evaluators import Differentiable
from gan_export.training.distill.network import taps

Values = Mapping[str, Tensor]


class Features(Protocol):
    """A comparison of two generators' values for the same latents.

    kept:    the values that it reads, besides the image
    learned: its own weights, which the student's optimizer learns too
    """

    @property
    def kept(self) -> tuple[str, ...]: ...
    @property
    def learned(self) -> nn.Module: ...
    def distance(self, student: Values, teacher: Values) -> Tensor:
        """Return a scalar, 0 for equal features and about 1 for unrelated ones."""
        ...


def find(name: str, student: GeneratorSpec, teacher: GeneratorSpec, device: torch.device) -> Features:
    """Return the features that a recipe names in loss.features_of.

    Raises GanExportError for a network that gives no features, or none that a student can learn from, and for features
    of another rank than (N, D).
    """
    if name == "teacher":
        return _OfTeacher(student, teacher, taps(teacher))
    shown = printable(name, 60)
    found = evaluators.find(name)
    if not isinstance(found, Differentiable):
        raise GanExportError(
            f"loss.features_of={shown}: it gives no features that a student can learn from, as it isn't a network of "
            "torch; use teacher, digits, or a plugin's evaluator with network()"
        )
    image = teacher.signature.outputs[0]
    shape = image.dims(teacher.signature.usual_sizes())
    found.check((shape[0], shape[1], shape[2]))
    network = found.network().eval().requires_grad_(False).to(device)
    with torch.no_grad():
        given = network(torch.zeros(2, *shape, device=device))
    if not isinstance(given, Tensor) or given.dim() != 2 or len(given) != 2 or not given.is_floating_point():
        held = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
        raise GanExportError(f"loss.features_of={shown}: the features of 2 images are {held}; they must be (2, D)")
    return _OfNetwork(network, teacher.outputs[0])


class _OfTeacher:
    """The teacher's values at each size, each predicted from the student's by a learned 1x1 convolution."""

    def __init__(self, student: GeneratorSpec, teacher: GeneratorSpec, kept: Sequence[str]) -> None:
        ours, theirs = infer_shapes(student), infer_shapes(teacher)
        self.kept = tuple(name for name in kept if name in ours)
        if not self.kept:
            raise GanExportError(
                "loss.features_of=teacher: there are no values between its layers that the student has too; set "
                "loss.features=0"
            )
        self.learned: nn.Module = nn.ModuleList(
            (nn.Conv2d(ours[k][0], theirs[k][0], 1) if len(ours[k]) == 3 else nn.Linear(ours[k][0], theirs[k][0]))
            for k in self.kept
        )

    def distance(self, student: Values, teacher: Values) -> Tensor:
        maps: nn.ModuleList = self.learned  # type: ignore[assignment]
        each = [
            F.mse_loss(m(student[k]), teacher[k]) / teacher[k].square().mean().clamp_min(1e-12)
            for m, k in zip(maps, self.kept, strict=True)
        ]
        return torch.stack(each).mean()


class _OfNetwork:
    """The features of the images in a fixed network."""

    kept: tuple[str, ...] = ()

    def __init__(self, network: nn.Module, image: str) -> None:
        self.learned: nn.Module = nn.ModuleList()
        self._network = network
        self._image = image

    def distance(self, student: Values, teacher: Values) -> Tensor:
        with torch.no_grad():
            wanted = self._network(teacher[self._image])
        apart: Tensor = F.mse_loss(self._network(student[self._image]), wanted)
        scale: Tensor = wanted.square().mean().clamp_min(1e-12)
        return apart / scale
