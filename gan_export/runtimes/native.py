"""The project's C engine (engine/), called through ctypes.  Imports no torch."""

from __future__ import annotations

import ctypes
import os
import threading
from ctypes import (
    POINTER,
    byref,
    c_float,
    c_int64,
    c_uint32,
    c_uint64,
    c_void_p,
    create_string_buffer,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gan_export.errors import GanExportError, UnavailableError, printable
from gan_export.formats import gan_header
from gan_export.latents import check as check_law
from gan_export.runtimes import forks
from gan_export.runtimes.base import (
    AVAILABLE,
    Availability,
    Floats,
    Labels,
    Output,
    Pictures,
    SessionInfo,
    require_available,
)
from gan_export.runtimes.native_library import (
    GanImages,
    GanInfo,
    GanInput,
    GanOpenOptions,
    GanOptions,
    GanOutput,
    GanRequest,
    check,
    engine_version,
    library,
)
from gan_export.runtimes.native_sessions import NativeImageSession, NativeSession

Bytes = NDArray[np.uint8]
Label = int | Literal["random", "all"]
_LARGEST_BATCH = 64  # larger batches run in rounds of this size
_KEPT = 3  # contexts per model, each with its scratch memory and threads
_KINDS = ("image", "volume", "audio", "values")
_LABELINGS = {"random": 0, "all": 2}
_ONE_LABEL = 1
_BYTES, _PLANES, _ROWS = 0, 5, 6  # formats
_MESSAGE_SIZE = 256
_UNSUPPORTED = 6  # GAN_ERROR_UNSUPPORTED


class Model:
    """An open `.gan` file.  Any number of threads may call `generate`; calls on one model take turns."""

    def __init__(self, path: Path | str, *, max_memory: int = 0) -> None:
        """Open a file; raise GanExportError if it is not a valid `.gan` file, UnavailableError without the engine."""
        self._path = str(path)
        self._lib = library()
        self.lock = threading.RLock()  # a signal handler may fork during a call of this thread
        self._max_memory = max_memory
        self._contexts: dict[tuple[int, int], c_void_p] = {}
        self._handle: c_void_p | None = None
        handle = c_void_p()
        name = os.fsencode(path)
        if b"\0" in name:
            raise GanExportError(f"{printable(self._path)}: a path can't contain NUL")
        message = create_string_buffer(_MESSAGE_SIZE)
        kernels = os.environ.get("GAN_CPU") or None
        options = GanOpenOptions(
            ctypes.sizeof(GanOpenOptions), kernels and os.fsencode(kernels), ctypes.addressof(message), _MESSAGE_SIZE
        )
        status = self._lib.gan_open(name, byref(options), byref(handle))
        if status == _UNSUPPORTED and kernels and b"kernels" in message.value:
            raise GanExportError(f"GAN_CPU={printable(kernels)}: {printable(message.value.decode('utf-8', 'replace'))}")
        check(status, self._path, message.value)
        self._handle = handle
        forks.watch(self)
        info = GanInfo(ctypes.sizeof(GanInfo))
        self._lib.gan_describe(handle, byref(info))
        self.nz: int = info.latent_size
        self.kind: str = _KINDS[info.kind]  # of what it generates
        sides = {"volume": (info.depth, info.height, info.width), "audio": (info.width,)}
        self.image: tuple[int, ...] = (
            (info.width, info.channels)  # rows of values
            if self.kind == "values"
            else (info.channels, *sides.get(self.kind, (info.height, info.width)))  # (C, H, W), for images
        )
        self.classes: int = info.classes
        self.prior: str = ("normal", "uniform", "none")[info.prior]  # none: the latents are given, such as w
        self.scalars: int = info.scalars  # numbers that an image takes beside its latent, such as psi
        self.noise: int = info.noise_size  # numbers in the planes of noise that an image takes
        self.weight_bytes: int = info.weights
        self.cpu: str = info.kernels.decode()
        self.arithmetic: str = info.arithmetic.decode()  # its narrowest products: "float32" or "int16"
        given = GanInput(ctypes.sizeof(GanInput))
        self._lib.gan_describe_input(handle, byref(given))
        self.channels: int = given.channels  # of the images that it takes; 0 if it takes latents
        self.least: tuple[int, int] = (given.least_height, given.least_width)  # their smallest height and width
        self.fixed: tuple[int, int] | None = (  # their height and width, if these aren't free
            self.least if self.least == (given.most_height, given.most_width) else None
        )
        self.manifest: str = ctypes.string_at(info.manifest, info.manifest_size).decode("utf-8", "replace")

    def generate(
        self,
        seed: int = 0,
        count: int = 1,
        *,
        start: int = 0,
        latents: Any = None,
        label: Label = "random",
        labels: Any = None,
        scalars: Any = None,
        noise: Any = None,
        threads: int | None = None,
        out: Bytes | None = None,
    ) -> Bytes:
        """Return images start .. start+count-1 of `seed`, or those of `latents` (N, nz), as uint8 (N, H, W, C).

        Volumes are (N, D, H, W, C), signals (N, L, C).
        label: one for all images, "all" for i mod classes, or "random"; labels (N,): one per image.
        scalars (N, self.scalars): 1 each if not given; noise (N, self.noise): that of the seed if not given
        out must be C-contiguous and of the result's shape; it is filled and returned.  threads None: all usable cores.
        """
        request = self._request(seed, start, count, latents, label=label, labels=labels, scalars=scalars, noise=noise)
        pictures = _array(out, (request.count, *self.image[1:], self.image[0]), np.dtype(np.uint8))
        self._draw(request, threads, pictures)
        return pictures  # type: ignore[return-value]

    def generate_floats(
        self,
        seed: int = 0,
        count: int = 1,
        *,
        start: int = 0,
        latents: Any = None,
        label: Label = "random",
        labels: Any = None,
        scalars: Any = None,
        noise: Any = None,
        threads: int | None = None,
        out: Floats | None = None,
    ) -> Floats:
        """Return what `generate` does as float32 (N, C, ...) in the generator's own range; values as (N, R, F)."""
        request = self._request(seed, start, count, latents, label=label, labels=labels, scalars=scalars, noise=noise)
        pictures = _array(out, (request.count, *self.image), np.dtype(np.float32))
        self._draw(request, threads, pictures)
        return pictures  # type: ignore[return-value]

    def apply(
        self,
        images: Any,
        *,
        seed: int = 0,
        start: int = 0,
        noise: Any = None,
        threads: int | None = None,
        out: Bytes | None = None,
    ) -> Bytes:
        """Return what the generator makes of images as uint8 (N, H', W', C').

        images: uint8 (N, H, W, C), whose 0 .. 255 stand for the ends of the input's range, or floats (N, C, H, W).
        noise: float32 (N, numbers), which dropouts take in the file's order; that of `seed` and the indices from
        `start` on if not given.
        Raises GanExportError for a size that the generator doesn't take.  threads, out: as of `generate`.
        """
        given, (height, width) = self._images(images, seed, start, noise)
        made = _array(out, (given.count, height, width, self.image[0]), np.dtype(np.uint8))
        self._apply(given, threads, made)
        return made  # type: ignore[return-value]

    def apply_floats(
        self,
        images: Any,
        *,
        seed: int = 0,
        start: int = 0,
        noise: Any = None,
        threads: int | None = None,
        out: Floats | None = None,
    ) -> Floats:
        """Return what `apply` does as float32 (N, C', H', W') in the generator's own range."""
        given, (height, width) = self._images(images, seed, start, noise)
        made = _array(out, (given.count, self.image[0], height, width), np.dtype(np.float32))
        self._apply(given, threads, made)
        return made  # type: ignore[return-value]

    def _images(self, images: Any, seed: int, start: int, noise: Any) -> tuple[GanImages, tuple[int, int]]:
        """Return checked images, which are kept alive, and the height and width of what comes out."""
        array = np.asarray(images)
        raw = array.dtype == np.uint8
        array = np.ascontiguousarray(array, np.uint8 if raw else np.float32)
        if not self.channels or array.ndim != 4 or array.shape[3 if raw else 1] != self.channels:
            takes = f"uint8 (N, H, W, {self.channels}) or float32 (N, {self.channels}, H, W)"
            raise GanExportError(
                f"images {array.dtype} {array.shape}: this model takes {takes if self.channels else 'latents'}"
            )
        count, height, width = array.shape[0], *(array.shape[1:3] if raw else array.shape[2:])
        h, w = c_uint32(), c_uint32()
        if self._lib.gan_output_size(self._open(), height, width, byref(h), byref(w)):
            raise GanExportError(f"images of {width} x {height}: the generator doesn't take this size")
        given = GanImages(
            ctypes.sizeof(GanImages), count, array.ctypes.data, array.nbytes, 0, 0, height, width,
            _BYTES if raw else _PLANES, seed, start,
        )  # fmt: skip
        given.held = [array]
        check_law(seed, start, count)
        if noise is not None:
            numbers = np.ascontiguousarray(noise, np.float32)
            given.noise, given.noise_size = numbers.ctypes.data, numbers.size
            given.held.append(numbers)
        return given, (h.value, w.value)

    def _apply(self, given: GanImages, threads: int | None, made: Pictures) -> None:
        with self.lock:
            context = self._context(1, threads)
            status = self._lib.gan_apply(context, byref(given), byref(_output(made)))
            message = self._lib.gan_context_message(context)
        check(status, self._path, message)

    def latents(self, seed: int, start: int, count: int) -> Floats:
        """Return the latents of `generate`: float32 (count, nz), equal to those of `gan_export.latents` bit by bit."""
        check_law(seed, start, count)
        z = _array(None, (count, self.nz), np.dtype(np.float32))
        with self.lock:
            check(
                self._lib.gan_latents(self._open(), byref(_range(seed, start, count)), _as(z, c_float), z.size),
                self._path,
            )
        return z  # type: ignore[return-value]

    def labels(self, seed: int, start: int, count: int) -> Labels:
        """Return the random labels (count,) of a generator with classes."""
        check_law(seed, start, count)
        chosen = np.empty(count, np.int64)
        with self.lock:
            check(
                self._lib.gan_labels(self._open(), byref(_range(seed, start, count)), _as(chosen, c_int64), count),
                self._path,
            )
        return chosen

    def memory(self, count: int, threads: int | None = None) -> tuple[int, int]:
        """Return (scratch, transformed weights) in bytes for generating `count` images at once, without the file."""
        scratch, weights = c_uint64(), c_uint64()
        options = self._options(count, threads)
        with self.lock:
            status = self._lib.gan_context_size(self._open(), byref(options), byref(scratch), byref(weights))
        check(status, self._path)
        return scratch.value, weights.value

    def apply_memory(self, height: int, width: int, threads: int | None = None) -> int | None:
        """Return the bytes of an image of this size, with transformed weights; None for more than there are."""
        scratch, weights = c_uint64(), c_uint64()
        options = self._options(1, threads)
        with self.lock:
            status = self._lib.gan_apply_size(
                self._open(), byref(options), height, width, byref(scratch), byref(weights)
            )
        return None if status else scratch.value + weights.value

    def threads(self, threads: int | None = None) -> int:
        """Return the number of threads of a call."""
        return threads or int(self._lib.gan_threads_default())

    def close(self) -> None:
        """Close the file; may be called twice."""
        with self.lock:
            for context in self._contexts.values():
                self._lib.gan_context_free(context)
            self._contexts.clear()
            if self._handle is not None:
                self._lib.gan_close(self._handle)
            self._handle = None

    def after_fork_in_child(self, held: bool) -> None:
        """Drop the contexts, whose threads don't exist in the child.

        A context that a call was using (not `held`) is left as it is.
        """
        if held:
            for context in self._contexts.values():
                self._lib.gan_context_free(context)
        self._contexts.clear()
        self.lock = threading.RLock()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()

    def _open(self) -> c_void_p:
        if self._handle is None:
            raise GanExportError(f"{printable(self._path)} is closed")
        return self._handle

    def _options(self, count: int, threads: int | None) -> GanOptions:
        if threads is not None and not 1 <= threads <= 1024:
            raise GanExportError(f"threads={threads}: must be 1 to 1024")
        return GanOptions(ctypes.sizeof(GanOptions), self._max_memory, threads or 0, min(count, _LARGEST_BATCH))

    def _context(self, count: int, threads: int | None) -> c_void_p:
        """Return the context for this number of images.

        A new one is created if needed; it replaces the oldest if there are too many.
        """
        options = self._options(1 << (max(count, 1) - 1).bit_length(), threads)
        key = (options.batch, options.threads)
        context = self._contexts.pop(key, None)
        if context is None:
            if len(self._contexts) >= _KEPT:
                self._lib.gan_context_free(self._contexts.pop(next(iter(self._contexts))))
            context, message = c_void_p(), create_string_buffer(_MESSAGE_SIZE)
            options.message, options.message_size = ctypes.addressof(message), _MESSAGE_SIZE
            status = self._lib.gan_context_new(self._open(), byref(options), byref(context))
            check(status, self._path, message.value)
        self._contexts[key] = context
        return context

    def _request(
        self,
        seed: int,
        start: int,
        count: int,
        latents: Any,
        *,
        label: Label,
        labels: Any,
        scalars: Any,
        noise: Any,
    ) -> GanRequest:
        """Return a checked request, which keeps alive what it points to."""
        z = None if latents is None else np.ascontiguousarray(latents, np.float32)
        if z is not None and (z.ndim != 2 or z.shape[1] != self.nz):
            raise GanExportError(f"latents of shape {z.shape}: must be (N, {self.nz})")
        n = count if z is None else len(z)
        check_law(seed, start, n)
        chosen = None if labels is None else np.ascontiguousarray(labels, np.int64)
        if chosen is not None and chosen.shape != (n,):
            raise GanExportError(f"labels of shape {chosen.shape}; must be ({n},)")
        labeling = _LABELINGS.get(label, -1) if isinstance(label, str) else _ONE_LABEL
        if labeling < 0 or (not isinstance(label, str) and not 0 <= label < max(self.classes, 1)):
            raise GanExportError(f"labels={label}: must be 0 to {self.classes - 1}, random or all")
        request = _range(seed, start, n)
        request.labeling, request.label = labeling, 0 if isinstance(label, str) else label
        if chosen is not None:
            request.labels, request.labels_size = chosen.ctypes.data, chosen.size
        if z is not None:
            request.latents, request.latents_size = z.ctypes.data, z.size
        request.held = [z, chosen]
        for name, given, size in (("scalars", scalars, self.scalars), ("noise", noise, self.noise)):
            if given is None:
                continue
            array = np.ascontiguousarray(given, np.float32)
            if array.shape != (n, size):
                raise GanExportError(f"{name} of shape {array.shape}: must be ({n}, {size})")
            setattr(request, name, array.ctypes.data)
            setattr(request, f"{name}_size", array.size)
            request.held.append(array)
        return request

    def _draw(self, request: GanRequest, threads: int | None, pictures: Pictures) -> None:
        with self.lock:
            context = self._context(request.count, threads)
            status = self._lib.gan_generate(
                context, byref(request), byref(_output(pictures, values=self.kind == "values"))
            )
            message = self._lib.gan_context_message(context)
        check(status, self._path, message)


def _array(out: Pictures | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Pictures:
    """Return `out` after checking it, or a new array."""
    if out is None:
        try:
            return np.empty(shape, dtype)
        except (MemoryError, ValueError):
            raise GanExportError(f"there is no memory for {shape[0]} images at once; generate them in parts") from None
    if out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous or not out.flags.writeable:
        raise GanExportError(f"out is {out.dtype} {out.shape}; must be contiguous {dtype} {shape}")
    return out


def _range(seed: int, start: int, count: int) -> GanRequest:
    return GanRequest(ctypes.sizeof(GanRequest), seed, start, count)


def _output(pictures: Pictures, *, values: bool = False) -> GanOutput:
    """Return a description of images, which must outlive it: bytes (N, H, W, C) or floats (N, C, H, W).

    values: whether they are rows of numbers, floats (N, R, F)
    """
    output = GanOutput(ctypes.sizeof(GanOutput), pictures.ctypes.data, pictures.nbytes)
    output.format = _BYTES if pictures.dtype == np.uint8 else _ROWS if values else _PLANES
    return output


def _as(array: NDArray[Any], kind: Any) -> Any:
    return array.ctypes.data_as(POINTER(kind))


@dataclass(frozen=True, slots=True)
class NativeRuntime:
    """The engine as a runtime.  A session returns floats or bytes."""

    name: str = "native"
    title: str = "gan-export native"
    format: str = "gan"
    devices: tuple[str, ...] = ("cpu",)
    output: Output = "float"
    max_memory: int = 0  # of a model, in bytes; 0 for no bound

    def availability(self, device: str = "cpu") -> Availability:
        if device != "cpu":
            return Availability(False, "the C engine runs on the CPU only; use device=cpu")
        try:
            library()
        except UnavailableError as e:
            return Availability(False, str(e).removeprefix("native: "))
        return AVAILABLE

    def load(
        self, path: Path, *, device: str = "cpu", threads: int | None = None
    ) -> NativeSession | NativeImageSession:
        require_available(self, device)
        model = Model(path, max_memory=self.max_memory)
        info = _info(model, self, threads)
        with open(path, "rb") as f:
            header = gan_header.read(f)
        if model.channels:
            return NativeImageSession(model, info, threads, header.further)
        return NativeSession(model, info, threads, header.further, header.made)


def _info(model: Model, runtime: NativeRuntime, threads: int | None) -> SessionInfo:
    precision = "int16" if model.arithmetic == "int16" else "fp32"
    return SessionInfo(
        runtime.name, engine_version(), "cpu", model.cpu, model.threads(threads), runtime.output, precision
    )


NATIVE = NativeRuntime()
