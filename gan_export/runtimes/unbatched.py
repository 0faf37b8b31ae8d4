"""A session of a runtime whose files take one image per call; the images of a batch run one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gan_export.errors import GanExportError, printable
from gan_export.formats import manifest as manifests
from gan_export.formats.manifest import Manifest
from gan_export.graph.signature import Array, Feeds, Signature
from gan_export.runtimes.base import Outputs, SessionInfo, Shapes, checked_feeds


class ImageRunner(Protocol):
    """Runs a library on one image."""

    def inputs(self, arrays: tuple[Array, ...]) -> Any:
        """Convert the signature's inputs (1, ...), float32 and int64, to the library's form."""
        ...

    def run(self, inputs: Any) -> Any:
        """Return the library's outputs; another call doesn't change them."""
        ...

    def arrays(self, made: Any) -> Sequence[Array]:
        """Convert outputs to arrays in the signature's order, of any shape, perhaps sharing memory."""
        ...


def needed_manifest(path: Path, kind: str) -> Manifest:
    """Return the manifest of a file without other information on its outputs; raise GanExportError if it has none."""
    manifest = manifests.read_manifest(path, kind)
    if manifest is None:
        raise GanExportError(f"{printable(str(path))} has no manifest of gan-export: export it with gan-export {kind}")
    return manifest


class UnbatchedSession:
    """A session that calls `draws` for each image; `shapes`: those that the library reports."""

    def __init__(
        self, draws: ImageRunner, info: SessionInfo, signature: Signature, shapes: Shapes | None = None
    ) -> None:
        self._shapes = shapes or Shapes()
        self._draws: ImageRunner | None = draws
        self._info = info
        self._signature = signature

    @property
    def info(self) -> SessionInfo:
        return self._info

    def shapes(self) -> Shapes:
        return self._shapes

    def run(self, feeds: Feeds) -> Outputs:
        bound = self.bind(feeds)
        bound()
        return bound.outputs()

    def bind(self, feeds: Feeds) -> SingleBound:
        if self._draws is None:
            raise GanExportError(f"{self._info.runtime}: the session is closed")
        arrays = checked_feeds(feeds, [p.name for p in self._signature.inputs])
        return SingleBound(self._draws, self._signature, arrays)

    def close(self) -> None:
        self._draws = None


class SingleBound:
    """Inputs of each image, in host memory, and the last outputs there."""

    def __init__(self, draws: ImageRunner, signature: Signature, feeds: dict[str, Array]) -> None:
        sizes = signature.sizes_of(feeds)
        self._draws = draws
        self._shapes = {p.name: p.dims(sizes) for p in signature.outputs}
        count = len(next(iter(feeds.values())))
        self._inputs = [draws.inputs(tuple(a[i : i + 1] for a in feeds.values())) for i in range(count)]
        self._made: list[Any] = []

    def __call__(self) -> None:
        self._made = [self._draws.run(inputs) for inputs in self._inputs]

    def outputs(self) -> Outputs:
        """Return each output in its own shape; raise GanExportError if the model returns other shapes than stated."""
        rows = [self._draws.arrays(made) for made in self._made]
        return {
            name: np.stack([_in_shape(np.asarray(row[i]), name, shape) for row in rows])
            for i, (name, shape) in enumerate(self._shapes.items())
        }


def _in_shape(array: Array, name: str, shape: tuple[int, ...]) -> Array:
    """Return the values of one image in `shape`: some libraries keep a batch dimension of 1, or drop sizes of 1."""
    sides = array.shape
    while len(sides) > len(shape) and sides[0] == 1:
        sides = sides[1:]
    if (1,) * (len(shape) - len(sides)) + sides != shape:
        raise GanExportError(
            f"the manifest states {name} of {shape}, but the model returns {array.shape}; export it again"
        )
    return array.reshape(shape)
