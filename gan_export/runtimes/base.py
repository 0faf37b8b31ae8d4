"""The interface of runtimes, which load an artifact from disk and turn latents into images.

Modules of this package import no torch, onnxruntime or openvino until `load` is called, so that listing the runtimes
costs nothing.
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
Clock = Literal["wall", "processor"]  # processor: the time of all threads of the process
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, slots=True)
class Availability:
    """The availability of a runtime on this machine.

    reason:    why it can't be used, with the install command; empty if `ok`
    elsewhere: whether the runtime works only on other systems, whatever is installed
    """

    ok: bool
    reason: str = ""
    elsewhere: bool = False


AVAILABLE = Availability(ok=True)


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """The properties of a session, read from the session after loading, never copied from the request.

    runtime:  the runtime's registry name
    version:  of the library that runs the model
    device:   "cpu" or "cuda"
    provider: what executes the graph, as the library calls it ("CPUExecutionProvider", "AVX2", ...)
    threads:  number of threads that the library uses for one call
    output:   how `run` returns images: "float" (float32 in the artifact's range) or "bytes" (uint8, channels last)
    precision: of the arithmetic: "fp32", "tf32", "bf16", "fp16" or "int16"
    inputs:   "latents"; "seed" for a file that computes its own latents, whose session is a `SamplerSession`
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
    """The shapes of a loaded model's inputs and outputs by name, without N, if its library reports them.

    inputs, outputs: None if unknown, for all or for one; classes: number of labels, 0 for none
    """

    inputs: Mapping[str, Shape | None] | None = None
    outputs: Mapping[str, Shape | None] | None = None
    classes: int | None = None


def shapes_of(signature: Signature) -> Shapes:
    """Return the shapes of a model whose signature is certain; None for a free dimension."""
    inputs, outputs = (
        {p.name: tuple(d if isinstance(d, int) else None for d in p.shape) for p in ports}
        for ports in (signature.inputs, signature.outputs)
    )
    return Shapes(inputs, outputs, sum(p.classes for p in signature.inputs_of("label")))


@runtime_checkable
class StatesShapes(Protocol):
    """A session whose library reports the shapes of the model's inputs and outputs."""

    def shapes(self) -> Shapes: ...


@runtime_checkable
class StatesMemory(Protocol):
    """A session whose library computes beforehand how much memory an image of a size takes."""

    def memory(self, height: int, width: int) -> int | None:
        """Return the bytes; None for more than the library may take."""
        ...


class PreparedInputs(Protocol):
    """A model whose inputs are already in the device's memory.

    A call runs the model once, and returns when its outputs are in the device's memory.
    """

    def __call__(self) -> None: ...

    def outputs(self) -> Outputs:
        """Return a copy of the last call's outputs in host memory, as `Session.run` returns them.

        Calls with other bound inputs, and `run`, don't change them.
        """
        ...


class Session(Protocol):
    """A loaded model.  Not thread-safe; `close` may be called twice."""

    @property
    def info(self) -> SessionInfo: ...

    def run(self, feeds: Feeds) -> Outputs:
        """Run the model on all inputs of the signature by name, as `Signature.feeds` returns them: (N, ...), N >= 1.

        Returns every output by name, (N, ...): float32, or uint8 if the file returns bytes.  The caller owns the
        arrays.
        Raises GanExportError for inputs that the model doesn't take.
        """
        ...

    def bind(self, feeds: Feeds) -> PreparedInputs:
        """Copy inputs, as `run` takes them, to the device."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class SamplesFromSeed(Protocol):
    """A session that computes images as bytes from a seed, including the latents."""

    def draw_bytes(self, seed: int, start: int, count: int, labels: Labels | None = None) -> NDArray[np.uint8]:
        """Return images start .. start+count-1 of `seed`, uint8 (N, H, W, C).

        Image i has label i mod classes unless labels (N,) are given.
        """
        ...


@runtime_checkable
class BindsDraws(Protocol):
    """A session each of whose calls computes images as bytes from a seed."""

    def bind_draw(self, seed: int, start: int, count: int) -> PreparedInputs:
        """Prepare a call that generates these images; image i has label i mod classes."""
        ...


class Runtime(Protocol):
    """A runtime of the registry."""

    @property
    def name(self) -> str:
        """The name in commands."""
        ...

    @property
    def title(self) -> str:
        """The name in tables."""
        ...

    @property
    def format(self) -> str:
        """The kind of file that `load` takes."""
        ...

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that the runtime supports."""
        ...

    def availability(self, device: str = "cpu") -> Availability: ...

    def load(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> Session:
        """Load a file; `threads` None means the library's default.

        Raises UnavailableError if `availability` is not ok or the device is not available, GanExportError if the file
        is not such an artifact.
        """
        ...


def require_available(runtime: Runtime, device: str) -> None:
    """Raise UnavailableError with the reason if `runtime` can't run on `device` here."""
    found = runtime.availability(device)
    if not found.ok:
        raise UnavailableError(f"{runtime.name}: {found.reason}{'; do this there' if found.elsewhere else ''}")


def feeds_for(session: Session, signature: Signature, feeds: Feeds) -> Feeds:
    """Return feeds of the signature, with images as floats, in the types that the file takes (perhaps bytes)."""
    return signature.feeds_as_bytes(feeds) if session.info.output == "bytes" else feeds


def hold_to(session: Session, signature: Signature) -> None:
    """Raise GanExportError unless the loaded model has the inputs and outputs that its file states.

    signature: with images as floats, also for a file that returns bytes
    """
    if session.info.output == "bytes":
        signature = signature.as_bytes()
    found = session.shapes() if isinstance(session, StatesShapes) else Shapes()
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
    """Return whether a model's dimensions match a port's: a fixed one must be equal or free, a symbolic one free."""
    return len(shape) == len(port.shape) and all(
        there is None or there == stated for there, stated in zip(shape, port.shape, strict=True)
    )


def _dims(shape: Sequence[int | str | None]) -> str:
    return f"({', '.join('free' if d is None else str(d) for d in shape)})"


def without_batch(dimensions: Iterable[Any]) -> Shape:
    """Return a graph's dimensions as a `Shape`: without the first, and None for one that is no number."""
    return tuple(d if type(d) is int else None for d in dimensions)[1:]


def check_outputs(outputs: Outputs, count: int, signature: Signature, sizes: Mapping[str, int]) -> None:
    """Raise GanExportError unless `outputs` have the shapes and types that a file states, for `count` images."""
    shapes = signature.output_shapes(count, sizes)
    for port in signature.outputs:
        got = outputs.get(port.name)
        if got is None:
            raise GanExportError(
                f"the manifest states an output {port.name}, which the model doesn't have; export it again"
            )
        if got.dtype != port.dtype or got.shape != shapes[port.name]:
            raise GanExportError(
                f"the manifest states {port.name} as {port.dtype} {shapes[port.name]}, but the model returns "
                f"{got.dtype} {got.shape} for {count} images; export it again"
            )


def checked_feeds(feeds: Feeds, names: Sequence[str]) -> dict[str, Array]:
    """Return `feeds` in the order of `names`, C-contiguous, floats as float32 and integers as int64.

    Bytes stay bytes.  Raises GanExportError unless the names are exactly `names` and all have the same N >= 1.
    """
    if set(feeds) != set(names):
        given = ", ".join(feeds) or "nothing"
        raise GanExportError(f"feeds {printable(given)}: this model has the inputs {printable(', '.join(names))}")
    arrays: dict[str, Array] = {}
    for name in names:
        array = np.asarray(feeds[name])
        dtype = {"f": np.float32, "i": np.int64, "u": np.int64}.get(array.dtype.kind)
        if dtype is None or array.ndim < 1 or not array.size:
            raise GanExportError(f"{name} is {array.dtype} of shape {array.shape}; must be numbers (N, ...)")
        arrays[name] = np.ascontiguousarray(array, np.uint8 if array.dtype == np.uint8 else dtype)
    if len({len(a) for a in arrays.values()}) > 1:
        each = ", ".join(f"{len(a)} of {name}" for name, a in arrays.items())
        raise GanExportError(f"feeds of different lengths: {each}")
    return arrays


def run_latents(session: Session, latents: Any, labels: Any = None) -> Pictures:
    """Return the first output of `Session.run` for latents and optional labels."""
    feeds = {"z": np.asarray(latents)} if labels is None else {"z": np.asarray(latents), "label": np.asarray(labels)}
    return next(iter(session.run(feeds).values()))
