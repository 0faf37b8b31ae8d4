"""The project's own C engine (engine/), through ctypes.  Nothing here imports torch."""

from __future__ import annotations

import ctypes
import functools
import os
import struct
import sys
import threading
import time
import weakref
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_int64, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gan_export.errors import GanExportError, UnavailableError, printable
from gan_export.graph.signature import Feeds
from gan_export.latents import check as check_law
from gan_export.runtimes.base import (
    AVAILABLE,
    Availability,
    Floats,
    Labels,
    Output,
    Outputs,
    Pictures,
    SessionInfo,
    Shape,
    Shapes,
    checked_feeds,
    require_available,
)

Bytes = NDArray[np.uint8]
Label = int | Literal["random", "all"]
_FOLDER = Path(__file__).resolve().parent.parent
_NAMES = {"darwin": "libgan.dylib", "win32": "gan.dll"}  # as CMake names them
_LARGEST_BATCH = 64  # beyond it the engine works in rounds, and its way of working no longer changes
_KEPT = 3  # contexts a model keeps, each with its scratch memory and threads
_LABELS = {"random": -1, "all": -2}
_UNSUPPORTED = 6  # GAN_ERROR_UNSUPPORTED
# Of a `.gan` file of version 3 (docs/gan-file-format.md): the size of its header and of a port, and the kinds of ports.
_HEADER, _PORT = 144, 192
_KINDS = ("latent", "style", "label", "scalar", "noise", "image", "volume", "video", "audio", "values")
_FORK_PATIENCE = 1.0  # seconds that os.fork() waits for calls under way


class _Info(ctypes.Structure):
    _fields_ = (
        ("latent_size", c_uint32), ("channels", c_uint32), ("height", c_uint32), ("width", c_uint32),
        ("classes", c_uint32), ("prior", c_uint32), ("weights", c_uint64),
        ("manifest", c_void_p), ("manifest_size", c_size_t), ("cpu", c_char_p),
    )  # fmt: skip


class _Options(ctypes.Structure):
    _fields_ = (("threads", c_uint32), ("batch", c_uint32), ("max_memory", c_uint64))


class _Request(ctypes.Structure):
    _fields_ = (
        ("seed", c_uint64), ("start", c_uint64), ("count", c_uint64),
        ("label", c_int64), ("labels", c_void_p), ("latents", c_void_p),
    )  # fmt: skip
    held: Any  # the arrays that `labels` and `latents` point into
    count: int


def library_name(system: str = sys.platform) -> str:
    """The library's file name on a system that `sys.platform` names so."""
    return _NAMES.get(system, "libgan.so")


def library_path() -> Path:
    """Where the built library lies, whether or not it is there."""
    return _FOLDER / library_name()


@functools.cache
def _library() -> ctypes.CDLL:
    path = library_path()
    if not path.is_file():
        raise UnavailableError(
            "native: the C engine was not built; install a C compiler (gcc or clang) and reinstall gan-export "
            "(pip install --force-reinstall --no-deps gan-export, or pip install . in its sources)"
        )
    try:
        lib = ctypes.CDLL(str(path))
    except OSError as e:
        raise UnavailableError(f"native: the C engine can't be loaded: {printable(str(e))}") from None
    pointer, options, request = POINTER(c_void_p), POINTER(_Options), POINTER(_Request)
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "gan_open": (c_int, [c_char_p, pointer]),
        "gan_close": (None, [c_void_p]),
        "gan_describe": (None, [c_void_p, POINTER(_Info)]),
        "gan_context_new": (c_int, [c_void_p, options, pointer]),
        "gan_context_size": (c_int, [c_void_p, options, POINTER(c_uint64), POINTER(c_uint64)]),
        "gan_context_free": (None, [c_void_p]),
        "gan_context_threads": (c_uint32, [c_void_p]),
        "gan_generate_bytes": (c_int, [c_void_p, request, POINTER(c_uint8), c_size_t]),
        "gan_generate_floats": (c_int, [c_void_p, request, POINTER(c_float), c_size_t]),
        "gan_latents": (c_int, [c_void_p, c_uint64, c_uint64, c_uint64, POINTER(c_float)]),
        "gan_labels": (c_int, [c_void_p, c_uint64, c_uint64, c_uint64, POINTER(c_int64)]),
        "gan_status_string": (c_char_p, [c_int]),
        "gan_version": (c_char_p, []),
        "gan_threads_default": (c_uint32, []),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def _foreign_port(path: str) -> str:
    """Return what the first port that the engine doesn't run is, by name; "" if the ports are not what it refuses."""
    with open(path, "rb") as f:
        head = f.read(_HEADER)
        if len(head) < _HEADER or struct.unpack_from("<I", head, 8)[0] != 3:
            return ""
        seen: set[str] = set()
        for _ in range(min(struct.unpack_from("<I", head, 60)[0], 128)):
            port = f.read(_PORT)
            if len(port) < _PORT:
                return ""
            output, kind = struct.unpack_from("<2I", port)
            what = _KINDS[kind] if kind < len(_KINDS) else "unknown"
            name = printable(port[128:192].rstrip(b"\0").decode("ascii", "replace"))
            if what in seen or what not in (("image",) if output else ("latent", "label")):
                return f"the {'output' if output else 'input'} {name} is {what}"
            seen.add(what)
    return ""


def _check(status: int, where: str) -> None:
    if status:
        raise GanExportError(f"{printable(where)}: {_library().gan_status_string(status).decode()}")


class Model:
    """A `.gan` file, open.  Any number of threads may call `generate`; calls on one model take turns."""

    def __init__(self, path: Path | str, *, max_memory: int = 0) -> None:
        """Raises GanExportError for what is no sound `.gan` file, UnavailableError where there is no engine."""
        self._path = str(path)
        self._lib = _library()
        self._lock = threading.RLock()  # a signal handler may fork inside of a call of this thread
        self._max_memory = max_memory
        self._contexts: dict[tuple[int, int], c_void_p] = {}
        self._handle: c_void_p | None = None
        handle = c_void_p()
        name = os.fsencode(path)
        if b"\0" in name:
            raise GanExportError(f"{printable(self._path)}: a path holds no NUL")
        status = self._lib.gan_open(name, byref(handle))
        if status == _UNSUPPORTED and (port := _foreign_port(self._path)):
            raise GanExportError(f"{printable(self._path)}: the C engine runs a latent and a label to an image; {port}")
        _check(status, self._path)
        self._handle = handle
        _OPEN.add(self)
        info = _Info()
        self._lib.gan_describe(handle, byref(info))
        self.nz: int = info.latent_size
        self.image: tuple[int, int, int] = (info.channels, info.height, info.width)  # (C, H, W)
        self.classes: int = info.classes
        self.prior: str = ("normal", "uniform")[info.prior]
        self.weight_bytes: int = info.weights
        self.cpu: str = info.cpu.decode()
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
        threads: int | None = None,
        out: Bytes | None = None,
    ) -> Bytes:
        """Pictures start .. start+count-1 of `seed`, or those of `latents` (N, nz), as uint8 (N, H, W, C).

        label is one for all, "all" for i mod classes, or "random"; labels (N,) gives each its own.  `out`,
        C-contiguous and of the result's shape, is filled and returned.  threads None: every usable core.
        """
        channels, height, width = self.image
        request = self._request(seed, start, count, latents, label=label, labels=labels)
        pictures = _array(out, (request.count, height, width, channels), np.dtype(np.uint8))
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
        threads: int | None = None,
        out: Floats | None = None,
    ) -> Floats:
        """As `generate`: float32 (N, C, H, W) in the generator's own range."""
        request = self._request(seed, start, count, latents, label=label, labels=labels)
        pictures = _array(out, (request.count, *self.image), np.dtype(np.float32))
        self._draw(request, threads, pictures)
        return pictures  # type: ignore[return-value]

    def latents(self, seed: int, start: int, count: int) -> Floats:
        """What `generate` draws from: float32 (count, nz), to the bit those of `gan_export.latents`."""
        check_law(seed, start, count)
        z = _array(None, (count, self.nz), np.dtype(np.float32))
        with self._lock:
            _check(self._lib.gan_latents(self._open(), seed, start, count, _as(z, c_float)), self._path)
        return z  # type: ignore[return-value]

    def labels(self, seed: int, start: int, count: int) -> Labels:
        """The random labels (count,) of a generator with classes."""
        check_law(seed, start, count)
        chosen = np.empty(count, np.int64)
        with self._lock:
            _check(self._lib.gan_labels(self._open(), seed, start, count, _as(chosen, c_int64)), self._path)
        return chosen

    def memory(self, count: int, threads: int | None = None) -> tuple[int, int]:
        """(scratch, transformed weights) in bytes that drawing `count` at once takes, the file's own aside."""
        scratch, weights = c_uint64(), c_uint64()
        options = self._options(count, threads)
        with self._lock:
            status = self._lib.gan_context_size(self._open(), byref(options), byref(scratch), byref(weights))
        _check(status, self._path)
        return scratch.value, weights.value

    def threads(self, threads: int | None = None) -> int:
        """How many threads a call uses."""
        return threads or int(self._lib.gan_threads_default())

    def close(self) -> None:
        """May be called twice."""
        with self._lock:
            for context in self._contexts.values():
                self._lib.gan_context_free(context)
            self._contexts.clear()
            if self._handle is not None:
                self._lib.gan_close(self._handle)
            self._handle = None

    def _after_fork_in_child(self, held: bool) -> None:
        """Give the contexts up: their threads aren't here.  What a call was in (not `held`) is left as it is."""
        if held:
            for context in self._contexts.values():
                self._lib.gan_context_free(context)
        self._contexts.clear()
        self._lock = threading.RLock()

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

    def _options(self, count: int, threads: int | None) -> _Options:
        if threads is not None and not 1 <= threads <= 1024:
            raise GanExportError(f"{threads} threads: 1 to 1024 are possible")
        return _Options(threads or 0, min(count, _LARGEST_BATCH), self._max_memory)

    def _context(self, count: int, threads: int | None) -> c_void_p:
        """The context for this many pictures: made at the first call, the oldest given up for a new one."""
        options = self._options(1 << (max(count, 1) - 1).bit_length(), threads)
        key = (options.batch, options.threads)
        context = self._contexts.pop(key, None)
        if context is None:
            if len(self._contexts) >= _KEPT:
                self._lib.gan_context_free(self._contexts.pop(next(iter(self._contexts))))
            context = c_void_p()
            _check(self._lib.gan_context_new(self._open(), byref(options), byref(context)), self._path)
        self._contexts[key] = context
        return context

    def _request(self, seed: int, start: int, count: int, latents: Any, *, label: Label, labels: Any) -> _Request:
        """A checked request.  It keeps what it points to alive."""
        z = None if latents is None else np.ascontiguousarray(latents, np.float32)
        if z is not None and (z.ndim != 2 or z.shape[1] != self.nz):
            raise GanExportError(f"latents of shape {z.shape}; this generator takes (N, {self.nz})")
        n = count if z is None else len(z)
        check_law(seed, start, n)
        chosen = None if labels is None else np.ascontiguousarray(labels, np.int64)
        if chosen is not None and chosen.shape != (n,):
            raise GanExportError(f"labels of shape {chosen.shape}; ({n},) is needed")
        named = _LABELS.get(label, label) if isinstance(label, str) else label
        if isinstance(named, str) or (not isinstance(label, str) and not 0 <= label < max(self.classes, 1)):
            raise GanExportError(f"label {label}: 0 to {self.classes - 1} are possible, or random, or all")
        request = _Request(
            seed, start, n, named,
            None if chosen is None else chosen.ctypes.data, None if z is None else z.ctypes.data,
        )  # fmt: skip
        request.held = (z, chosen)
        return request

    def _draw(self, request: _Request, threads: int | None, pictures: Pictures) -> None:
        with self._lock:
            context = self._context(request.count, threads)
            if pictures.dtype == np.uint8:
                status = self._lib.gan_generate_bytes(context, byref(request), _as(pictures, c_uint8), pictures.size)
            else:
                status = self._lib.gan_generate_floats(context, byref(request), _as(pictures, c_float), pictures.size)
        _check(status, self._path)


_OPEN: weakref.WeakSet[Model] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    # For each os.fork() under way, the models that were open, and whether their locks were taken: no call is in flight.
    _forks: list[list[tuple[Model, bool]]] = []
    _forking = threading.RLock()

    def _before_fork() -> None:
        _forking.acquire()
        end = time.monotonic() + _FORK_PATIENCE
        _forks.append([(m, m._lock.acquire(timeout=max(end - time.monotonic(), 0))) for m in list(_OPEN)])

    def _after_fork_in_parent() -> None:
        for model, held in _forks.pop():
            if held:
                model._lock.release()
        _forking.release()

    def _after_fork_in_child() -> None:
        for model, held in _forks.pop():
            model._after_fork_in_child(held)
        _forking.release()

    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def _array(out: Pictures | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Pictures:
    """`out`, checked, or a new array."""
    if out is None:
        try:
            return np.empty(shape, dtype)
        except (MemoryError, ValueError):
            raise GanExportError(f"there is no memory for {shape[0]} pictures at once; draw them in parts") from None
    if out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous or not out.flags.writeable:
        raise GanExportError(f"out is {out.dtype} {out.shape}; contiguous {dtype} {shape} is needed")
    return out


def _as(array: NDArray[Any], kind: Any) -> Any:
    return array.ctypes.data_as(POINTER(kind))


@dataclass(frozen=True, slots=True)
class NativeRuntime:
    """The engine as a runtime.  A session gives floats, or bytes."""

    name: str = "native"
    title: str = "gan-export native"
    format: str = "gan"
    devices: tuple[str, ...] = ("cpu",)
    output: Output = "float"

    def availability(self, device: str = "cpu") -> Availability:
        if device != "cpu":
            return Availability(False, "the C engine runs on the CPU alone; use --device cpu")
        try:
            _library()
        except UnavailableError as e:
            return Availability(False, str(e).removeprefix("native: "))
        return AVAILABLE

    def load(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> NativeSession:
        require_available(self, device)
        return NativeSession(Model(path), self, threads)


class NativeSession:
    """A model as a session."""

    def __init__(self, model: Model, runtime: NativeRuntime, threads: int | None) -> None:
        self.model = model
        self._runtime = runtime
        self._threads = threads
        version = _library().gan_version().decode()
        self._info = SessionInfo(runtime.name, version, "cpu", model.cpu, model.threads(threads), runtime.output)

    @property
    def info(self) -> SessionInfo:
        return self._info

    def shapes(self) -> Shapes:
        label: dict[str, Shape | None] = {"label": ()} if self.model.classes else {}
        return Shapes({"z": (self.model.nz,), **label}, {"image": self._image()}, self.model.classes)

    def _image(self) -> Shape:
        channels, height, width = self.model.image
        return (height, width, channels) if self._runtime.output == "bytes" else (channels, height, width)

    def run(self, feeds: Feeds) -> Outputs:
        return self.bind(feeds).run()

    def bind(self, feeds: Feeds) -> NativeBound:
        arrays = checked_feeds(feeds, ["z", "label"] if self.model.classes else ["z"])
        draw = self.model.generate if self._runtime.output == "bytes" else self.model.generate_floats
        return NativeBound(draw, arrays["z"], arrays.get("label"), self._threads)

    def draw_bytes(self, seed: int, start: int, count: int, labels: Labels | None = None) -> Bytes:
        return self.model.generate(seed, count, start=start, label="all", labels=labels, threads=self._threads)

    def close(self) -> None:
        self.model.close()


class NativeBound:
    """Latents held, and an array that each call fills."""

    def __init__(self, draw: Any, latents: Floats, labels: Labels | None, threads: int | None) -> None:
        self._draw = draw
        self._arguments = {"latents": latents.copy(), "labels": labels, "threads": threads}
        self._out: Pictures | None = None

    def __call__(self) -> None:
        self._out = self._draw(**self._arguments, out=self._out)

    def run(self) -> Outputs:
        self()
        assert self._out is not None
        return {"image": self._out}

    def outputs(self) -> Outputs:
        if self._out is None:
            raise GanExportError("nothing was drawn yet")
        return {"image": self._out.copy()}


NATIVE = NativeRuntime()
