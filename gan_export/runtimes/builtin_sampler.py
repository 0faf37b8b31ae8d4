"""A session for a file that computes its latents from a seed: an export made with --sampler."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gan_export import latents
from gan_export.errors import GanExportError
from gan_export.graph.signature import Feeds
from gan_export.runtimes.base import Labels, Outputs, PreparedInputs, SessionInfo, Shapes

INPUTS = ("seed", "start", "count")  # int64 (), in this order; then label int64 (labels,) if there are labels
REFUSAL = "is_out_of_range"  # part of the message with which such a file refuses its inputs
_ALL = np.array([-2], np.int64)  # image i has label i mod classes
_SEEDS, _IMAGES = 1 << 63, 1 << 62
_NO_LATENTS = "this file takes a seed, not latents; export without sampler=True for a file that takes latents"


class NamedInputSession(Protocol):
    """A runtime's session that takes inputs by name."""

    @property
    def info(self) -> SessionInfo: ...

    def shapes(self) -> Shapes: ...

    def run(self, feeds: Feeds) -> Outputs: ...

    def bind(self, feeds: Feeds) -> PreparedInputs: ...

    def close(self) -> None: ...


def is_seeded(names: Iterable[str]) -> bool:
    """Return whether a file with these inputs takes a seed."""
    return tuple(names)[:3] == INPUTS


class SamplerSession:
    """A `Session` that is also `SamplesFromSeed` and `BindsDraws`; it refuses latents, which the file doesn't take."""

    def __init__(self, inner: NamedInputSession, *, conditional: bool) -> None:
        self._inner = inner
        self._conditional = conditional

    @property
    def info(self) -> SessionInfo:
        return replace(self._inner.info, inputs="seed", output="bytes")

    def shapes(self) -> Shapes:
        return self._inner.shapes()

    def run(self, feeds: Feeds) -> Outputs:
        raise GanExportError(_NO_LATENTS)

    def bind(self, feeds: Feeds) -> PreparedInputs:
        raise GanExportError(_NO_LATENTS)

    def draw_bytes(self, seed: int, start: int, count: int, labels: Labels | None = None) -> NDArray[np.uint8]:
        """Generate images; raise GanExportError for values that exceed the file's, or this runtime's, integers."""
        feeds = self._feeds(seed, start, count, labels)
        try:
            return next(iter(self._inner.run(feeds).values()))
        except GanExportError as e:
            raise _explained(e, seed, start, count) from e

    def bind_draw(self, seed: int, start: int, count: int) -> PreparedInputs:
        """Prepare a call that generates these images."""
        feeds = self._feeds(seed, start, count, None)
        try:
            return self._inner.bind(feeds)
        except GanExportError as e:
            raise _explained(e, seed, start, count) from e

    def close(self) -> None:
        self._inner.close()

    def _feeds(self, seed: int, start: int, count: int, labels: Labels | None) -> dict[str, Any]:
        latents.check(seed, start, count)
        if seed >= _SEEDS or start + count > _IMAGES:
            raise GanExportError(
                f"seed {seed}, images {start} to {start + count - 1}: a file exported with sampler=True needs a seed "
                "below 2^63 and image indices below 2^62; export without sampler=True for larger ones"
            )
        feeds = {name: np.array(value, np.int64) for name, value in zip(INPUTS, (seed, start, count), strict=True)}
        if self._conditional:
            feeds["label"] = _ALL if labels is None else np.ascontiguousarray(labels, np.int64)
        return feeds


def _explained(error: GanExportError, seed: int, start: int, count: int) -> GanExportError:
    """Return an explanation if the file refused its inputs, and any other error unchanged."""
    if REFUSAL not in str(error):
        return error
    return GanExportError(
        f"the file refused seed {seed}, images {start} to {start + count - 1}: they are out of its range "
        "(both must be below 2^32 if the runtime narrows 64-bit integers), or it doesn't have the label"
    )
