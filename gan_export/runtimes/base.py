"""What a runtime is: something that loads an artifact from disk and turns latents into pictures.

Modules of this package import no torch, onnxruntime or openvino until `load` is called, so that listing the
runtimes costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gan_export.errors import GanExportError, UnavailableError, printable
from gan_export.graph.ports import Port
from gan_export.graph.signature import Array, Feeds, Signature

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
Pictures = NDArray[np.float32] | NDArray[np.uint8]
Outputs = dict[str, Array]
Output = Literal["float", "bytes"]
Inputs = Literal["latents", "seed"]
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a runtime can be used here.

    reason:    why not, with the install line; empty when `ok`
    elsewhere: nothing that one could install makes it run on this system
    """

    ok: bool
    reason: str = ""
    elsewhere: bool = False


AVAILABLE = Availability(ok=True)


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What a session really is, asked of the session after loading and never copied from the request.

    runtime:  the runtime's registry name
    version:  of the library that runs the model
    device:   "cpu" or "cuda"
    provider: what executes the graph, in the library's own words ("CPUExecutionProvider", "AVX2", ...)
    threads:  how many the library uses for one call
    output:   what `run` gives of images: "float" float32 in the artifact's range, or "bytes" uint8, channels last
    precision: of the arithmetic: "fp32", "tf32", "bf16" or "fp16"
    inputs:   "latents"; "seed" for a file that draws its own, whose session is a `SeededSession`
    """

    runtime: str
    version: str
    device: str
    provider: str
    threads: int
    output: Output = "float"
    precision: str = "fp32"
    inputs: Inputs = "latents"


Shape = tuple[int | None, ...]  # of one image; None for a free dimension


@dataclass(frozen=True, slots=True)
class Shapes:
    """What a loaded model itself tells of what it takes and gives, by name, without N; it may tell a part, or nothing.

    inputs, outputs: None for all, or for one, of which its library doesn't tell; classes: number of labels, 0 for none
    """

    inputs: Mapping[str, Shape | None] | None = None
    outputs: Mapping[str, Shape | None] | None = None
    classes: int | None = None


@runtime_checkable
class TellsShapes(Protocol):
    """A session whose library tells what the model takes and gives."""

    def shapes(self) -> Shapes: ...


class PreparedInputs(Protocol):
    """A model with its inputs already in the device's memory.

    A call runs the model once and returns when its outputs lie in the device's memory.
    """

    def __call__(self) -> None: ...

    def outputs(self) -> Outputs:
        """A copy, in host memory, of what the last call made, as `Session.run` gives it.

        Another bound input's calls and `run` in between don't change it.
        """
        ...


class Session(Protocol):
    """A loaded model.  Not thread-safe; `close` may be called twice."""

    @property
    def info(self) -> SessionInfo: ...

    def run(self, feeds: Feeds) -> Outputs:
        """Take every input of the generator's signature by name, (N, ...) with N >= 1, as `Signature.feeds` makes them.

        Gives every output by name, (N, ...): float32, or uint8 if the file gives bytes.  The arrays are the caller's.
        Raises GanExportError for inputs that the model doesn't take.
        """
        ...

    def bind(self, feeds: Feeds) -> PreparedInputs:
        """Inputs as `run` takes them, copied to the device once."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class SamplesFromSeed(Protocol):
    """A session that goes from a seed to bytes by itself, latents and all."""

    def draw_bytes(self, seed: int, start: int, count: int, labels: Labels | None = None) -> NDArray[np.uint8]:
        """Images start .. start+count-1 of `seed`, uint8 (N, H, W, C).

        Image i has label i mod classes where no labels (N,) are given.
        """
        ...


@runtime_checkable
class BindsDraws(Protocol):
    """A session whose every call goes from a seed to bytes."""

    def bind_draw(self, seed: int, start: int, count: int) -> PreparedInputs:
        """A call draws these images; image i has label i mod classes."""
        ...


class Runtime(Protocol):
    """One entry of `RUNTIMES`."""

    @property
    def name(self) -> str:
        """What the commands call it."""
        ...

    @property
    def title(self) -> str:
        """What a table calls it."""
        ...

    @property
    def format(self) -> str:
        """The kind of file that `load` takes."""
        ...

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that it can ever run on."""
        ...

    def availability(self, device: str = "cpu") -> Availability: ...

    def load(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> Session:
        """`threads` None leaves the library's own default.

        Raises UnavailableError where `availability` is not ok or the device was not given, GanExportError for a
        file that is no such artifact.
        """
        ...


def require_available(runtime: Runtime, device: str) -> None:
    """Raises UnavailableError with the reason when `runtime` can't run on `device` here."""
    found = runtime.availability(device)
    if not found.ok:
        raise UnavailableError(f"{runtime.name}: {found.reason}{'; do this there' if found.elsewhere else ''}")


def hold_to(session: Session, signature: Signature) -> None:
    """Raise GanExportError unless what a file states of its generator is what the loaded model takes and gives.

    signature: with images as floats, also for a file that gives bytes
    """
    if session.info.output == "bytes":
        signature = signature.as_bytes()
    found = session.shapes() if isinstance(session, TellsShapes) else Shapes()
    inputs = None if session.info.inputs == "seed" else found.inputs
    for what, ports, there in (("inputs", signature.inputs, inputs), ("outputs", signature.outputs, found.outputs)):
        if there is None:
            continue
        if list(there) != [p.name for p in ports]:
            stated = ", ".join(p.name for p in ports)
            names = printable(", ".join(there) or "none")
            raise GanExportError(f"the file states the {what} {stated}, its model has {names}; export it again")
        for port in ports:
            shape = there[port.name]
            if shape is not None and not _fits(shape, port):
                stated, own = f"{port.name} of {_dims(port.shape)}", _dims(shape)
                raise GanExportError(f"the file states {stated}, its model has {own}; export it again")
    classes = sum(p.classes for p in signature.inputs_of("label"))
    if found.classes not in (None, classes):
        raise GanExportError(f"the file states {classes} labels, its model has {found.classes}; export it again")


def _fits(shape: Shape, port: Port) -> bool:
    """Whether a model's dimensions are those of a port: a fixed one alike or free, a symbolic one free."""
    return len(shape) == len(port.shape) and all(
        there is None or there == stated for there, stated in zip(shape, port.shape, strict=True)
    )


def _dims(shape: Sequence[int | str | None]) -> str:
    return f"({', '.join('free' if d is None else str(d) for d in shape)})"


def without_batch(dimensions: Iterable[Any]) -> Shape:
    """A graph's dimensions as a `Shape`: the first is left out, and what is no number is free."""
    return tuple(d if type(d) is int else None for d in dimensions)[1:]


def check_outputs(outputs: Outputs, count: int, signature: Signature, sizes: Mapping[str, int]) -> None:
    """Raise GanExportError unless `outputs` are those of `count` images that a file states, in shape and type."""
    shapes = signature.output_shapes(count, sizes)
    for port in signature.outputs:
        got = outputs.get(port.name)
        if got is None:
            raise GanExportError(f"the file states an output {port.name}, its model gives none; export it again")
        if got.dtype != port.dtype or got.shape != shapes[port.name]:
            raise GanExportError(
                f"the file states {port.name} as {port.dtype} {shapes[port.name]}, its model gives {got.dtype} "
                f"{got.shape} for {count} images; export it again"
            )


def checked_feeds(feeds: Feeds, names: Sequence[str]) -> dict[str, Array]:
    """Return `feeds` in the order of `names`, C-contiguous, floats as float32 and whole numbers as int64.

    Bytes stay what they are.  Raises GanExportError unless every name is there, no other is, and N >= 1 is the same.
    """
    if set(feeds) != set(names):
        given = ", ".join(feeds) or "nothing"
        raise GanExportError(f"feeds of {printable(given)}; this model takes {printable(', '.join(names))}")
    arrays: dict[str, Array] = {}
    for name in names:
        array = np.asarray(feeds[name])
        dtype = {"f": np.float32, "i": np.int64, "u": np.int64}.get(array.dtype.kind)
        if dtype is None or array.ndim < 1 or not array.size:
            raise GanExportError(f"{name} is {array.dtype} of shape {array.shape}; numbers (N, ...) are needed")
        arrays[name] = np.ascontiguousarray(array, np.uint8 if array.dtype == np.uint8 else dtype)
    if len({len(a) for a in arrays.values()}) > 1:
        each = ", ".join(f"{len(a)} of {name}" for name, a in arrays.items())
        raise GanExportError(f"feeds of different lengths: {each}")
    return arrays


def run_latents(session: Session, latents: Any, labels: Any = None) -> Pictures:
    """`Session.run` of a generator from z and perhaps labels: its first output alone."""
    feeds = {"z": np.asarray(latents)} if labels is None else {"z": np.asarray(latents), "label": np.asarray(labels)}
    return next(iter(session.run(feeds).values()))
