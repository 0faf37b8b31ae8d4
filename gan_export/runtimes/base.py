"""What a runtime is: something that loads an artifact from disk and turns latents into pictures.

Modules of this package import no torch, onnxruntime or openvino until `load` is called, so that listing the
runtimes costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gan_export.errors import GanExportError, UnavailableError

if TYPE_CHECKING:
    from gan_export.artifact import Facts

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
Pictures = NDArray[np.float32] | NDArray[np.uint8]
Output = Literal["float", "bytes"]
Inputs = Literal["latents", "seed"]
Format = Literal[
    "checkpoint", "torchscript", "onnx", "gan", "pt2", "openvino", "safetensors", "c", "aoti", "ncnn", "litert",
    "executorch", "coreml",
]  # fmt: skip
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
    output:   what `generate` gives: "float" (N, C, H, W) float32 in the artifact's range, or "bytes" (N, H, W, C) uint8
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


@dataclass(frozen=True, slots=True)
class Shapes:
    """What a loaded model itself tells of what it takes and gives; None for what its library doesn't tell.

    nz:      length of a latent
    image:   (C, H, W), each None if it is free
    labels:  whether it takes labels; classes: how many there are, 0 for none
    """

    nz: int | None = None
    image: tuple[int | None, int | None, int | None] | None = None
    labels: bool | None = None
    classes: int | None = None


@runtime_checkable
class TellsShapes(Protocol):
    """A session whose library tells what the model takes and gives."""

    def shapes(self) -> Shapes: ...


class Bound(Protocol):
    """A model with its inputs already in the device's memory.

    A call runs the model once and returns when the pictures lie in the device's memory.
    """

    def __call__(self) -> None: ...

    def pictures(self) -> Pictures:
        """A copy, in host memory, of what the last call made; shape and type as `Session.generate` gives them.

        Another bound input's calls and `generate` in between don't change it.
        """
        ...


class Session(Protocol):
    """A loaded model.  Not thread-safe; `close` may be called twice."""

    @property
    def info(self) -> SessionInfo: ...

    def generate(self, latents: Floats, labels: Labels | None = None) -> Pictures:
        """latents (N, nz) float32, labels (N,) int64 where the model has classes.  N >= 1.

        Gives (N, C, H, W) float32, or (N, H, W, C) uint8 where `info.output` is "bytes".  The array is the caller's.
        Raises GanExportError for inputs that the model doesn't take.
        """
        ...

    def bind(self, latents: Floats, labels: Labels | None = None) -> Bound:
        """Inputs as `generate` takes them, copied to the device once."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class DrawsBytes(Protocol):
    """A session that goes from a seed to bytes by itself, latents and all."""

    def draw_bytes(self, seed: int, start: int, count: int, labels: Labels | None = None) -> NDArray[np.uint8]:
        """Images start .. start+count-1 of `seed`, uint8 (N, H, W, C).

        Image i has label i mod classes where no labels (N,) are given.
        """
        ...


@runtime_checkable
class BindsDraws(Protocol):
    """A session whose every call goes from a seed to bytes."""

    def bind_draw(self, seed: int, start: int, count: int) -> Bound:
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
    def format(self) -> Format:
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


def require(runtime: Runtime, device: str) -> None:
    """Raises UnavailableError with the reason when `runtime` can't run on `device` here."""
    found = runtime.availability(device)
    if not found.ok:
        raise UnavailableError(f"{runtime.name}: {found.reason}{'; do this there' if found.elsewhere else ''}")


def graph_shapes(inputs: Sequence[Sequence[Any]], output: Sequence[Any], *, bytes: bool, seeded: bool) -> Shapes:
    """Of a graph's inputs and first output, by their dimensions: ints, and anything else for a free one."""
    free = [[d if isinstance(d, int) else None for d in shape] for shape in (output, *inputs)]
    image, first = free[0], free[1]
    if len(image) != 4:
        raise GanExportError(f"the model gives an array of {len(image)} dimensions; images have four")
    if bytes:
        image = [image[0], image[3], image[1], image[2]]
    labels = len(inputs) > (3 if seeded else 1)
    nz = None if seeded or len(first) < 2 else first[1]
    return Shapes(nz, (image[1], image[2], image[3]), labels)


def hold_to(session: Session, facts: Facts) -> None:
    """Raises GanExportError unless what a file states of its generator is what the loaded model takes and gives."""
    found = session.shapes() if isinstance(session, TellsShapes) else Shapes()
    for what, stated, there in (
        ("latents of length", facts.nz, found.nz),
        ("images (C, H, W) of", facts.image, found.image),
        ("labels" if not facts.classes else "a number of labels,", facts.classes, found.classes),
    ):
        if isinstance(stated, tuple) and isinstance(there, tuple):
            fits = len(stated) == len(there) and all(t in (None, s) for s, t in zip(stated, there, strict=True))
        else:
            fits = there in (None, stated)
        if not fits:
            raise GanExportError(f"the file states {what} {stated}, its model has {there}; export it again")
    if found.labels not in (None, facts.classes > 0):
        takes = "takes labels" if found.labels else "takes none"
        raise GanExportError(f"the file states {facts.classes} labels, its model {takes}; export it again")


def check_images(got: Pictures, count: int, facts: Facts) -> None:
    """Raises GanExportError unless `got` are `count` images of the size that a file states: NCHW, or NHWC of bytes."""
    channels, height, width = facts.image
    wanted = (count, height, width, channels) if got.dtype == np.uint8 else (count, channels, height, width)
    if got.dtype not in (np.uint8, np.float32) or got.shape != wanted:
        raise GanExportError(
            f"the file states images (C, H, W) of {facts.image}, its model gives {got.dtype} {got.shape} "
            f"for {count}; export it again"
        )


def checked_latents(latents: Any) -> Floats:
    """`latents` as C-contiguous float32 (N, nz), N >= 1."""
    z = np.ascontiguousarray(latents, dtype=np.float32)
    if z.ndim != 2 or not z.size:
        raise GanExportError(f"latents of shape {z.shape}; (N, nz) with N at least 1 is needed")
    return z


def checked_labels(labels: Any) -> Labels:
    """`labels` as C-contiguous int64, for a generator that takes them; None is refused."""
    if labels is None:
        raise GanExportError("this generator is conditional: give it labels")
    return np.ascontiguousarray(labels, np.int64)
