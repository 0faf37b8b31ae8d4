"""A session over a file that draws from a seed by itself: an export made with --sampler."""

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

INPUTS = ("seed", "start", "count")  # int64 (), in this order; then label int64 (labels,), where there are labels
REFUSAL = "is_out_of_range"  # in whatever such a file says when it refuses
_ALL = np.array([-2], np.int64)  # image i has label i mod classes
_SEEDS, _IMAGES = 1 << 63, 1 << 62
_NO_LATENTS = "this file draws from a seed and takes no latents; export without --sampler for a file that does"


class NamedInputSession(Protocol):
    """What a runtime's session does with inputs by name."""

    @property
    def info(self) -> SessionInfo: ...

    def shapes(self) -> Shapes: ...

    def run(self, feeds: Feeds) -> Outputs: ...

    def bind(self, feeds: Feeds) -> PreparedInputs: ...

    def close(self) -> None: ...


def is_seeded(names: Iterable[str]) -> bool:
    """Whether a file with these inputs draws from a seed."""
    return tuple(names)[:3] == INPUTS


class SamplerSession:
    """A `Session` that also `DrawsBytes` and `BindsDraws`; latents are refused, since the file takes none."""

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
        """As `DrawsBytes`.  Raises GanExportError for what the file, or this runtime's integers, can't hold."""
        feeds = self._feeds(seed, start, count, labels)
        try:
            return next(iter(self._inner.run(feeds).values()))
        except GanExportError as e:
            raise _explained(e, seed, start, count) from e

    def bind_draw(self, seed: int, start: int, count: int) -> PreparedInputs:
        """As `BindsDraws`."""
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
                f"seed {seed}, images {start} to {start + count - 1}: a file made with --sampler takes seeds below "
                "2^63 and images below 2^62; export without --sampler for the others"
            )
        feeds = {name: np.array(value, np.int64) for name, value in zip(INPUTS, (seed, start, count), strict=True)}
        if self._conditional:
            feeds["label"] = _ALL if labels is None else np.ascontiguousarray(labels, np.int64)
        return feeds


def _explained(error: GanExportError, seed: int, start: int, count: int) -> GanExportError:
    """The file's own refusal in words; any other error as it is."""
    if REFUSAL not in str(error):
        return error
    return GanExportError(
        f"the file refused seed {seed}, images {start} to {start + count - 1}: this runtime takes fewer "
        "(where it narrows 64-bit integers, both must be below 2^32), or a label that it doesn't have was asked for"
    )
