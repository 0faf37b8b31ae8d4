"""Sessions of the C engine: of models that take latents, and of models that take images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gan_export.errors import GanExportError
from gan_export.formats.gan_header import Further
from gan_export.graph.signature import Feeds
from gan_export.runtimes.base import Labels, Outputs, Pictures, SessionInfo, Shape, Shapes, checked_feeds

if TYPE_CHECKING:
    from gan_export.runtimes.native import Model

Bytes = NDArray[np.uint8]


class NativeSession:
    """A model of latents, or of values such as w, as a session.

    further: the model's inputs that are neither a latent nor a label; made: its output's name
    """

    def __init__(
        self, model: Model, info: SessionInfo, threads: int | None, further: tuple[Further, ...] = (), made: str = ""
    ) -> None:
        self.model = model
        self._info = info
        self._threads = threads
        self._values = next((x for x in further if x.kind == "values"), None)
        self._beside = tuple(x for x in further if x.kind != "values")
        self._made = made or model.kind

    @property
    def info(self) -> SessionInfo:
        return self._info

    def shapes(self) -> Shapes:
        label: dict[str, Shape | None] = {"label": ()} if self.model.classes else {}
        start = {self._start: self._values.shape if self._values else (self.model.nz,)}
        beside = {x.name: x.shape for x in self._beside}
        return Shapes({**start, **label, **beside}, {self._made: self._image()}, self.model.classes)

    @property
    def _start(self) -> str:
        return self._values.name if self._values else "z"

    def _image(self) -> Shape:
        channels, *sides = self.model.image
        return (*sides, channels) if self._info.output == "bytes" else (channels, *sides)

    def run(self, feeds: Feeds) -> Outputs:
        return self.bind(feeds).run()

    def bind(self, feeds: Feeds) -> NativeBound:
        label = ["label"] if self.model.classes else []
        arrays = checked_feeds(feeds, [self._start, *label, *(x.name for x in self._beside)])
        count = len(arrays[self._start])
        draw = self.model.generate if self._info.output == "bytes" else self.model.generate_floats
        given = {"latents": arrays[self._start].reshape(count, -1).copy(), "labels": arrays.get("label")}
        for kind, argument in (("scalar", "scalars"), ("noise", "noise")):
            given[argument] = _side_by_side([arrays[x.name] for x in self._beside if x.kind == kind])
        return NativeBound(draw, {**given, "threads": self._threads}, self._made)

    def draw_bytes(self, seed: int, start: int, count: int, labels: Labels | None = None) -> Bytes:
        return self.model.generate(seed, count, start=start, label="all", labels=labels, threads=self._threads)

    def close(self) -> None:
        self.model.close()


class NativeImageSession:
    """A model of images as a session.

    noise: the model's inputs beside the image
    """

    def __init__(self, model: Model, info: SessionInfo, threads: int | None, noise: tuple[Further, ...] = ()) -> None:
        self.model = model
        self._info = info
        self._threads = threads
        self._noise = noise
        self._input, self._output = "input", "image"  # the names of an image that goes in, and of the first output

    @property
    def info(self) -> SessionInfo:
        return self._info

    def shapes(self) -> Shapes:
        sides = self.model.fixed or (None, None)
        made = self.model.image[1:] if self.model.fixed else (None, None)
        inside, out = (self.model.channels, *sides), (self.model.image[0], *made)
        if self._info.output == "bytes":
            inside, out = (*inside[1:], inside[0]), (*out[1:], out[0])
        beside = {x.name: x.shape for x in self._noise}
        return Shapes({self._input: inside, **beside}, {self._output: out}, 0)

    def memory(self, height: int, width: int) -> int | None:
        return self.model.apply_memory(height, width, self._threads)

    def run(self, feeds: Feeds) -> Outputs:
        return self.bind(feeds).run()

    def bind(self, feeds: Feeds) -> NativeBound:
        arrays = checked_feeds(feeds, [self._input, *(x.name for x in self._noise)])
        draw = self.model.apply if self._info.output == "bytes" else self.model.apply_floats
        given = {"images": arrays[self._input].copy(), "noise": _side_by_side([arrays[x.name] for x in self._noise])}
        return NativeBound(draw, {**given, "threads": self._threads}, self._output)

    def close(self) -> None:
        self.model.close()


def _side_by_side(arrays: Sequence[NDArray[Any]]) -> NDArray[np.float32] | None:
    """Return arrays (N, ...) as the rows of one, float32 (N, numbers); None for none."""
    rows = [array.reshape(len(array), -1) for array in arrays]
    return np.concatenate(rows, 1, dtype=np.float32, casting="unsafe") if rows else None


class NativeBound:
    """Bound inputs, and an array that each call fills."""

    def __init__(self, draw: Any, arguments: dict[str, Any], output: str) -> None:
        self._draw = draw
        self._arguments = arguments
        self._output = output
        self._out: Pictures | None = None

    def __call__(self) -> None:
        self._out = self._draw(**self._arguments, out=self._out)

    def run(self) -> Outputs:
        self()
        assert self._out is not None
        return {self._output: self._out}

    def outputs(self) -> Outputs:
        if self._out is None:
            raise GanExportError("nothing has been generated yet")
        return {self._output: self._out.copy()}
