"""A session over a runtime whose files draw one picture a call: the pictures of a batch one after the other."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gan_export.errors import GanExportError
from gan_export.runtimes.base import Floats, Labels, Pictures, SessionInfo, Shapes, checked_labels, checked_latents


class Draws(Protocol):
    """What a library does with one picture."""

    def inputs(self, arrays: tuple[NDArray[Any], ...]) -> Any:
        """Latents float32 (1, nz) and, where there are labels, int64 (1,), in the library's own form."""
        ...

    def run(self, inputs: Any) -> Any:
        """What the library gives for them.  Another call doesn't change it."""
        ...

    def picture(self, made: Any) -> NDArray[Any]:
        """It as an array of C x H x W values, which may be shared."""
        ...


class SingleSession:
    """`draws` does the work; `conditional`: whether it takes labels; `shapes`: what else the library tells."""

    def __init__(self, draws: Draws, info: SessionInfo, *, conditional: bool, shapes: Shapes | None = None) -> None:
        self._shapes = shapes or Shapes(labels=conditional)
        self._draws: Draws | None = draws
        self._info = info
        self._conditional = conditional

    @property
    def info(self) -> SessionInfo:
        return self._info

    def shapes(self) -> Shapes:
        return self._shapes

    def generate(self, latents: Floats, labels: Labels | None = None) -> Pictures:
        bound = self.bind(latents, labels)
        bound()
        return bound.pictures()

    def bind(self, latents: Floats, labels: Labels | None = None) -> SingleBound:
        if self._draws is None:
            raise GanExportError(f"{self._info.runtime}: the session is closed")
        z = checked_latents(latents)
        rows: list[tuple[NDArray[Any], ...]] = [(z[i : i + 1],) for i in range(len(z))]
        if self._conditional:
            numbers = checked_labels(labels)
            rows = [(*row, numbers[i : i + 1]) for i, row in enumerate(rows)]
        return SingleBound(self._draws, rows)

    def close(self) -> None:
        self._draws = None


class SingleBound:
    """Inputs of each picture, in host memory, and the last pictures there."""

    def __init__(self, draws: Draws, rows: list[tuple[NDArray[Any], ...]]) -> None:
        self._draws = draws
        self._inputs = [draws.inputs(row) for row in rows]
        self._made: list[Any] = []

    def __call__(self) -> None:
        self._made = [self._draws.run(inputs) for inputs in self._inputs]

    def pictures(self) -> Pictures:
        """(N, C, H, W): a batch of one, which some libraries keep in front, is left out."""
        found = [np.asarray(self._draws.picture(made)) for made in self._made]
        return np.stack([picture.reshape(picture.shape[-3:]) for picture in found])
