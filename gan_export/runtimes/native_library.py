"""The C engine's library: its path, the structures of gan.h for ctypes, and its functions' types."""

from __future__ import annotations

import ctypes
import functools
import sys
from ctypes import POINTER, c_char_p, c_float, c_int32, c_int64, c_size_t, c_ssize_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any

from gan_export.errors import GanExportError, UnavailableError, printable

_FOLDER = Path(__file__).resolve().parent.parent
_NAMES = {"darwin": "libgan.dylib", "win32": "gan.dll"}  # CMake's names


class GanOpenOptions(ctypes.Structure):
    _fields_ = (("size", c_size_t), ("kernels", c_char_p), ("message", c_void_p), ("message_size", c_size_t))


class GanInfo(ctypes.Structure):
    _fields_ = (
        ("size", c_size_t), ("latent_size", c_uint32), ("classes", c_uint32), ("prior", c_uint32),
        ("channels", c_uint32), ("height", c_uint32), ("width", c_uint32), ("low", c_float), ("high", c_float),
        ("weights", c_uint64), ("manifest", c_void_p), ("manifest_size", c_size_t), ("kernels", c_char_p),
        ("kind", c_uint32), ("depth", c_uint32),
        ("arithmetic", c_char_p),
        ("scalars", c_uint32), ("noise_size", c_uint64),
    )  # fmt: skip


class GanInput(ctypes.Structure):
    _fields_ = (
        ("size", c_size_t), ("channels", c_uint32),
        ("least_height", c_uint32), ("multiple_height", c_uint32), ("most_height", c_uint32),
        ("least_width", c_uint32), ("multiple_width", c_uint32), ("most_width", c_uint32),
        ("low", c_float), ("high", c_float),
    )  # fmt: skip


class GanOptions(ctypes.Structure):
    _fields_ = (
        ("size", c_size_t), ("max_memory", c_uint64), ("threads", c_uint32), ("batch", c_uint32),
        ("parallel", c_void_p), ("user", c_void_p), ("message", c_void_p), ("message_size", c_size_t),
        ("arithmetic", c_uint32),
    )  # fmt: skip


class GanRequest(ctypes.Structure):
    _fields_ = (
        ("size", c_size_t), ("seed", c_uint64), ("start", c_uint64), ("count", c_uint64),
        ("label", c_int64), ("labeling", c_uint32), ("latent_scale", c_float),
        ("seeds", c_void_p), ("seeds_size", c_size_t), ("indices", c_void_p), ("indices_size", c_size_t),
        ("labels", c_void_p), ("labels_size", c_size_t), ("latents", c_void_p), ("latents_size", c_size_t),
        ("scalars", c_void_p), ("scalars_size", c_size_t), ("noise", c_void_p), ("noise_size", c_size_t),
    )  # fmt: skip
    held: Any  # keeps the arrays alive that the request points into
    count: int


class GanOutput(ctypes.Structure):
    _fields_ = (
        ("size", c_size_t), ("data", c_void_p), ("data_size", c_size_t),
        ("row_stride", c_ssize_t), ("image_stride", c_ssize_t),
        ("done", c_void_p), ("user", c_void_p), ("format", c_uint32),
    )  # fmt: skip


class GanImages(ctypes.Structure):
    _fields_ = (
        ("size", c_size_t), ("count", c_uint64), ("data", c_void_p), ("data_size", c_size_t),
        ("row_stride", c_ssize_t), ("image_stride", c_ssize_t),
        ("height", c_uint32), ("width", c_uint32), ("format", c_uint32),
        ("seed", c_uint64), ("start", c_uint64), ("noise", c_void_p), ("noise_size", c_size_t),
    )  # fmt: skip
    held: Any  # keeps the arrays alive
    count: int


def library_name(system: str = sys.platform) -> str:
    """Return the library's file name on a system with this `sys.platform`."""
    return _NAMES.get(system, "libgan.so")


def library_path() -> Path:
    """Return the path of the built library, whether or not it exists."""
    return _FOLDER / library_name()


@functools.cache
def library() -> ctypes.CDLL:
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
    pointer, options, request = POINTER(c_void_p), POINTER(GanOptions), POINTER(GanRequest)
    output, images, number = POINTER(GanOutput), POINTER(GanImages), POINTER(c_uint64)
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "gan_open": (c_int32, [c_char_p, POINTER(GanOpenOptions), pointer]),
        "gan_close": (None, [c_void_p]),
        "gan_describe": (None, [c_void_p, POINTER(GanInfo)]),
        "gan_context_new": (c_int32, [c_void_p, options, pointer]),
        "gan_context_size": (c_int32, [c_void_p, options, number, number]),
        "gan_apply_size": (c_int32, [c_void_p, options, c_uint32, c_uint32, number, number]),
        "gan_context_free": (None, [c_void_p]),
        "gan_context_message": (c_char_p, [c_void_p]),
        "gan_generate": (c_int32, [c_void_p, request, output]),
        "gan_apply": (c_int32, [c_void_p, images, output]),
        "gan_describe_input": (None, [c_void_p, POINTER(GanInput)]),
        "gan_output_size": (c_int32, [c_void_p, c_uint32, c_uint32, POINTER(c_uint32), POINTER(c_uint32)]),
        "gan_latents": (c_int32, [c_void_p, request, POINTER(c_float), c_size_t]),
        "gan_labels": (c_int32, [c_void_p, request, POINTER(c_int64), c_size_t]),
        "gan_status_string": (c_char_p, [c_int32]),
        "gan_version": (c_char_p, []),
        "gan_threads_default": (c_uint32, []),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def engine_version() -> str:
    """Return the version of the C engine; raises UnavailableError if there is none."""
    version: bytes = library().gan_version()
    return version.decode()


def check(status: int, where: str, message: bytes | None = None) -> None:
    if status:
        explained = (message or library().gan_status_string(status)).decode("utf-8", "replace")
        raise GanExportError(f"{printable(where)}: {printable(explained)}")
