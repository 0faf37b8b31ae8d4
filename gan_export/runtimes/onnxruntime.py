"""ONNX Runtime on the CPU and on CUDA.  The session's provider is checked: a silent fallback is an error."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gan_export._lib import untracked
from gan_export._lib.extras import install_line
from gan_export.errors import GanExportError, UnavailableError, printable
from gan_export.formats import manifest as manifests
from gan_export.formats.protobuf import check_external_data
from gan_export.graph.signature import MOST_PORTS, Array, Feeds
from gan_export.runtimes import memory
from gan_export.runtimes.base import (
    AVAILABLE,
    Availability,
    Outputs,
    SessionInfo,
    Shapes,
    checked_feeds,
    require_available,
    without_batch,
)
from gan_export.runtimes.builtin_sampler import SamplerSession, is_seeded
from gan_export.runtimes.cuda import cuda_availability

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# TF32 is off, because float32 is required. All other settings are the provider's defaults.
_PROVIDER_OPTIONS: dict[str, dict[str, str]] = {"cpu": {}, "cuda": {"use_tf32": "0"}}
_WHEELS = ("onnxruntime", "onnxruntime-gpu")  # both install the folder `onnxruntime`: the later one overwrites
_FATAL = 4  # onnxruntime's log severity: only fatal errors


def installed_wheels() -> tuple[str, ...]:
    """Return which of the two wheels are installed according to pip.

    With both, the files are those of the later one.
    """
    return tuple(name for name in _WHEELS if _installed(name))


@dataclass(frozen=True, slots=True)
class OnnxRuntime:
    """onnxruntime.InferenceSession."""

    name: str = "onnxruntime"
    title: str = "ONNX Runtime"
    format: str = "onnx"
    devices: tuple[str, ...] = ("cpu", "cuda")

    def availability(self, device: str = "cpu") -> Availability:
        if importlib.util.find_spec("onnxruntime") is None:
            return Availability(False, f"onnxruntime is not installed; {install_line(['onnxruntime'])}")
        if device == "cpu":
            return AVAILABLE
        if PROVIDERS["cuda"] not in _import_quietly().get_available_providers():
            wheels = installed_wheels()
            remove = f"pip uninstall -y {' '.join(wheels)}; " if wheels else ""
            return Availability(
                False,
                f"this onnxruntime has no CUDA provider; {remove}pip install onnxruntime-gpu, or use device=cpu",
            )
        return cuda_availability()

    def load(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> OnnxSession | SamplerSession:
        require_available(self, device)
        if not path.is_file():
            raise GanExportError(f"{printable(str(path))} is no file")
        check_external_data(path)
        ort = _import_quietly()
        options = ort.SessionOptions()
        options.log_severity_level = _FATAL
        if threads is not None:
            options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        if device == "cuda":
            _preload_cuda(ort)
        with captured_stderr() as noise:
            try:
                session = ort.InferenceSession(
                    str(path), options, providers=[(PROVIDERS[device], _PROVIDER_OPTIONS[device])]
                )
            # onnxruntime has an exception type per status code, without a base class of their own
            except Exception as e:
                raise GanExportError(f"{printable(str(path))}: ONNX Runtime can't load it: {_line(str(e))}") from e
        check_provider(session.get_providers(), device, noise)
        if not session.get_inputs() or not session.get_outputs():
            raise GanExportError(f"{printable(str(path))} is a graph without inputs or without outputs")
        loaded = OnnxSession(session, ort, device, threads, stored_precision(path))
        if is_seeded(loaded.inputs):
            return SamplerSession(loaded, conditional="label" in loaded.inputs)
        if len(loaded.inputs) > MOST_PORTS:
            raise GanExportError(f"the graph has {len(loaded.inputs)} inputs; must be at most {MOST_PORTS}")
        return loaded


def stored_precision(path: Path) -> str:
    """Return the precision that the file states; fp32 for a file that gan-export didn't write."""
    manifest = manifests.read_manifest(path, "onnx")
    return manifest.precision if manifest else "fp32"


def check_provider(given: list[str], device: str, noise: list[str]) -> None:
    """Raise UnavailableError unless the session's first provider is the requested one."""
    wanted = PROVIDERS[device]
    if not given or given[0] != wanted:
        why = f" ({_line(noise[-1])})" if noise else ""
        raise UnavailableError(f"ONNX Runtime fell back from {wanted} to {', '.join(given) or 'nothing'}{why}")


class OnnxSession:
    """A loaded graph, with inputs and outputs by the graph's own names."""

    def __init__(self, session: Any, ort: Any, device: str, threads: int | None, precision: str) -> None:
        self._session = session
        self._ort = ort
        self.inputs = [i.name for i in session.get_inputs()]
        self._halves = {i.name for i in session.get_inputs() if i.type == "tensor(float16)"}
        first = session.get_inputs()[0].shape[:1]
        self._fixed = first[0] if first and isinstance(first[0], int) else None  # the graph's fixed batch size
        self._outputs = [o.name for o in session.get_outputs()]
        self._shapes = Shapes(
            {i.name: without_batch(i.shape) for i in session.get_inputs()},
            {o.name: without_batch(o.shape) for o in session.get_outputs()},
        )
        self._info = SessionInfo(
            runtime="onnxruntime",
            version=ort.__version__,
            device=device,
            provider=session.get_providers()[0],
            threads=threads if threads is not None else os.cpu_count() or 1,
            output="bytes" if session.get_outputs()[0].type == "tensor(uint8)" else "float",
            precision=precision,
        )

    @property
    def info(self) -> SessionInfo:
        return self._info

    def shapes(self) -> Shapes:
        return self._shapes

    def run(self, feeds: Feeds) -> Outputs:
        return self.call(self._given(feeds))

    def bind(self, feeds: Feeds) -> CpuBound | CudaBound:
        given = self._given(feeds)
        if self._info.device == "cpu":
            return CpuBound(self, given)
        return CudaBound(self._ort, self._open(), given, self.call(given))

    def close(self) -> None:
        self._session = None

    def call(self, feeds: Feeds) -> Outputs:
        """Run once on inputs in host memory, in the graph's own types."""
        try:
            run = self._open().run
            if self._fixed is None:
                made = run(self._outputs, dict(feeds))
            else:
                made = in_pieces(lambda piece: run(self._outputs, piece), feeds, self._fixed)
        except GanExportError:
            raise
        except Exception as e:
            memory.check(e)
            raise GanExportError(f"ONNX Runtime can't run this model: {_line(str(e))}") from e
        return {name: widened(array) for name, array in zip(self._outputs, made, strict=True)}

    def _open(self) -> Any:
        if self._session is None:
            raise GanExportError("onnxruntime: the session is closed")
        return self._session

    def _given(self, feeds: Feeds) -> dict[str, Array]:
        if is_seeded(self.inputs):
            return dict(feeds)
        arrays = checked_feeds(feeds, self.inputs)
        return {name: a.astype(np.float16) if name in self._halves else a for name, a in arrays.items()}


class CpuBound:
    """Call a session on the CPU, whose memory is the host's, with inputs that are bound."""

    def __init__(self, session: OnnxSession, feeds: dict[str, Array]) -> None:
        self._session, self._feeds = session, feeds
        self._last: Outputs | None = None

    def __call__(self) -> None:
        self._last = self._session.call(self._feeds)

    def outputs(self) -> Outputs:
        if self._last is None:
            self()
        assert self._last is not None
        return {name: array.copy() for name, array in self._last.items()}


class CudaBound:
    """Bound inputs on CUDA: inputs and outputs stay in device memory; outputs are allocated once, as `examples` are."""

    def __init__(self, ort: Any, session: Any, feeds: dict[str, Array], examples: Outputs) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._held = {name: ort.OrtValue.ortvalue_from_numpy(value, "cuda", 0) for name, value in feeds.items()}
        for name, value in self._held.items():
            self._binding.bind_ortvalue_input(name, value)
        types = {o.name: np.float16 for o in session.get_outputs() if o.type == "tensor(float16)"}
        empty = {name: np.zeros(a.shape, types.get(name, a.dtype)) for name, a in examples.items()}
        self._made = {name: ort.OrtValue.ortvalue_from_numpy(array, "cuda", 0) for name, array in empty.items()}
        for name, value in self._made.items():
            self._binding.bind_ortvalue_output(name, value)
        self._binding.synchronize_inputs()

    def __call__(self) -> None:
        self._session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()

    def outputs(self) -> Outputs:
        return {name: widened(value.numpy()) for name, value in self._made.items()}


def widened(array: Array) -> Array:
    """Return float16 as float32, and other types unchanged."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def in_pieces(run: Callable[[dict[str, Array]], list[Array]], feeds: Feeds, size: int) -> list[Array]:
    """Run a graph of fixed batch size on any number of images: the last batch is padded, and its outputs cut."""
    count = len(next(iter(feeds.values())))
    made: list[list[Array]] = []
    for start in range(0, count, size):
        piece = {name: value[start : start + size] for name, value in feeds.items()}
        lacking = size - len(next(iter(piece.values())))
        filled = {name: np.concatenate([v, np.repeat(v[-1:], lacking, axis=0)]) for name, v in piece.items()}
        made.append([array[: size - lacking] for array in run(filled)])
    return [np.concatenate(arrays) for arrays in zip(*made, strict=True)]


@contextlib.contextmanager
def captured_stderr() -> Iterator[list[str]]:
    """Capture what C++ code writes to descriptor 2 inside the block; its lines are added to the yielded list."""
    lines: list[str] = []
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            lines += [line for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]


def _import_quietly() -> Any:
    with captured_stderr():  # a GPU build looks for drivers when it starts, and prints messages
        onnxruntime = untracked.onnxruntime()
        onnxruntime.set_default_logger_severity(_FATAL)
    return onnxruntime


def _preload_cuda(ort: Any) -> None:
    """Load CUDA's and cuDNN's libraries from torch's nvidia wheels, if they are installed."""
    if hasattr(ort, "preload_dlls"):
        with captured_stderr(), contextlib.redirect_stdout(None):
            ort.preload_dlls()


def _installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _line(text: str) -> str:
    return printable(" ".join(text.split()), limit=300)


ONNXRUNTIME = OnnxRuntime()
