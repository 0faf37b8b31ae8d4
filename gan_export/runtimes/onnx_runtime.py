"""ONNX Runtime on the CPU and on CUDA.  The provider is checked from the session: a silent fall-back is an error."""

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
from typing import Any, cast

import numpy as np

from gan_export import artifact
from gan_export.errors import GanExportError, UnavailableError, printable
from gan_export.protobuf import check_external_data
from gan_export.runtimes.base import (
    AVAILABLE,
    Availability,
    Floats,
    Format,
    Labels,
    Pictures,
    SessionInfo,
    Shapes,
    checked_labels,
    checked_latents,
    graph_shapes,
    require,
)
from gan_export.runtimes.cuda import cuda_availability
from gan_export.runtimes.seeded import SeededSession, is_seeded

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# TF32 off: float32 is what is asked for.  Everything else is the provider's own default.
_PROVIDER_OPTIONS: dict[str, dict[str, str]] = {"cpu": {}, "cuda": {"use_tf32": "0"}}
_WHEELS = ("onnxruntime", "onnxruntime-gpu")  # both install the folder `onnxruntime`: the later one overwrites
_FATAL = 4  # onnxruntime's log severity: only what ends the process


def installed_wheels() -> tuple[str, ...]:
    """Which of the two wheels pip believes to be installed; with both, the files are those of the later one."""
    return tuple(name for name in _WHEELS if _installed(name))


@dataclass(frozen=True, slots=True)
class OnnxRuntime:
    """onnxruntime.InferenceSession."""

    name: str = "onnxruntime"
    title: str = "ONNX Runtime"
    format: Format = "onnx"
    devices: tuple[str, ...] = ("cpu", "cuda")

    def availability(self, device: str = "cpu") -> Availability:
        if importlib.util.find_spec("onnxruntime") is None:
            return Availability(False, "onnxruntime is not installed; pip install onnxruntime-gpu (or onnxruntime)")
        if device == "cpu":
            return AVAILABLE
        if PROVIDERS["cuda"] not in _import_quietly().get_available_providers():
            wheels = installed_wheels()
            remove = f"pip uninstall -y {' '.join(wheels)}; " if wheels else ""
            return Availability(
                False,
                f"this onnxruntime has no CUDA provider; {remove}pip install onnxruntime-gpu, or use --device cpu",
            )
        return cuda_availability()

    def load(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> OnnxSession | SeededSession:
        require(self, device)
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
            except Exception as e:  # onnxruntime has an exception type a status code, with no base of their own
                raise GanExportError(f"{printable(str(path))}: ONNX Runtime can't load it: {_line(str(e))}") from e
        check_provider(session.get_providers(), device, noise)
        loaded = OnnxSession(session, ort, device, threads, stored_precision(path))
        if is_seeded(loaded.inputs):
            return SeededSession(loaded, conditional="label" in loaded.inputs)
        if not 1 <= len(loaded.inputs) <= 2:
            raise GanExportError(
                f"the graph takes {len(loaded.inputs)} inputs; latents, or latents and labels, are one or two"
            )
        return loaded


def stored_precision(path: Path) -> str:
    """What the file says of its arithmetic; fp32 for a file that is not one of ours."""
    manifest = artifact.read_manifest(path, "onnx")
    return manifest.precision if manifest else "fp32"


def check_provider(given: list[str], device: str, noise: list[str]) -> None:
    """Raises UnavailableError where the session's first provider is not the one that was asked for."""
    wanted = PROVIDERS[device]
    if not given or given[0] != wanted:
        why = f" ({_line(noise[-1])})" if noise else ""
        raise UnavailableError(f"ONNX Runtime fell back from {wanted} to {', '.join(given) or 'nothing'}{why}")


class OnnxSession:
    """A loaded graph: first input latents, a second one labels; the first output is the picture."""

    def __init__(self, session: Any, ort: Any, device: str, threads: int | None, precision: str) -> None:
        self._session = session
        self._ort = ort
        self.inputs = [i.name for i in session.get_inputs()]
        self._latents = np.float16 if session.get_inputs()[0].type == "tensor(float16)" else np.float32
        first = session.get_inputs()[0].shape[:1]
        self._fixed = first[0] if first and isinstance(first[0], int) else None  # the batch that the graph is made for
        self._output = session.get_outputs()[0].name
        self._shapes = graph_shapes(
            [i.shape for i in session.get_inputs()],
            session.get_outputs()[0].shape,
            bytes=session.get_outputs()[0].type == "tensor(uint8)",
            seeded=is_seeded(self.inputs),
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

    def generate(self, latents: Floats, labels: Labels | None = None) -> Pictures:
        return self.run(self._feeds(latents, labels))

    def bind(self, latents: Floats, labels: Labels | None = None) -> CpuBound | CudaBound:
        return self.bound(self._feeds(latents, labels))

    def bound(self, feeds: dict[str, Any]) -> CpuBound | CudaBound:
        """Inputs by name, copied to the device once."""
        if self._info.device == "cpu":
            return CpuBound(self, feeds)
        return CudaBound(self._ort, self._open(), feeds, self._output, self.run(feeds))

    def close(self) -> None:
        self._session = None

    def run(self, feeds: dict[str, Any]) -> Pictures:
        """One call on inputs in host memory."""
        try:
            call = self._open()
            if self._fixed is None:
                pictures: Pictures = call.run([self._output], feeds)[0]
            else:
                pictures = in_pieces(lambda piece: call.run([self._output], piece)[0], feeds, self._fixed)
        except GanExportError:
            raise
        except Exception as e:
            raise GanExportError(f"ONNX Runtime can't run this model: {_line(str(e))}") from e
        return pictures.astype(np.float32) if pictures.dtype == np.float16 else pictures

    def _open(self) -> Any:
        if self._session is None:
            raise GanExportError("onnxruntime: the session is closed")
        return self._session

    def _feeds(self, latents: Floats, labels: Labels | None) -> dict[str, Any]:
        feeds: dict[str, Any] = {self.inputs[0]: checked_latents(latents).astype(self._latents, copy=False)}
        if len(self.inputs) == 2:
            feeds[self.inputs[1]] = checked_labels(labels)
        return feeds


class CpuBound:
    """On the CPU the device's memory is the host's: the plain call."""

    def __init__(self, session: OnnxSession, feeds: dict[str, Any]) -> None:
        self._session, self._feeds = session, feeds
        self._last: Pictures | None = None

    def __call__(self) -> None:
        self._last = self._session.run(self._feeds)

    def pictures(self) -> Pictures:
        if self._last is None:
            self()
        assert self._last is not None
        return self._last.copy()


class CudaBound:
    """I/O binding: inputs and output stay in device memory, the output allocated once."""

    def __init__(self, ort: Any, session: Any, feeds: dict[str, Any], output: str, example: Pictures) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._held = {name: ort.OrtValue.ortvalue_from_numpy(value, "cuda", 0) for name, value in feeds.items()}
        for name, value in self._held.items():
            self._binding.bind_ortvalue_input(name, value)
        self._output = ort.OrtValue.ortvalue_from_numpy(np.zeros_like(example), "cuda", 0)
        self._binding.bind_ortvalue_output(output, self._output)
        self._binding.synchronize_inputs()

    def __call__(self) -> None:
        self._session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()

    def pictures(self) -> Pictures:
        pictures: Pictures = self._output.numpy()
        return pictures.astype(np.float32) if pictures.dtype == np.float16 else pictures


def in_pieces(run: Callable[[dict[str, Any]], Pictures], feeds: dict[str, Any], size: int) -> Pictures:
    """Any number of pictures from a graph that draws `size` at a time: the last piece is filled up and cut off."""
    count = len(next(iter(feeds.values())))
    drawn: list[Any] = []
    for start in range(0, count, size):
        piece = {name: value[start : start + size] for name, value in feeds.items()}
        lacking = size - len(next(iter(piece.values())))
        filled = {name: np.concatenate([v, np.repeat(v[-1:], lacking, axis=0)]) for name, v in piece.items()}
        drawn.append(run(filled)[: size - lacking])
    joined: Any = np.concatenate(drawn)
    return cast(Pictures, joined)


@contextlib.contextmanager
def captured_stderr() -> Iterator[list[str]]:
    """Keeps off the terminal what C++ code writes to descriptor 2 inside the block; its lines are in the given list."""
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
    with captured_stderr():  # a GPU build looks for drivers when it starts, and says so
        import onnxruntime

        onnxruntime.set_default_logger_severity(_FATAL)
    return onnxruntime


def _preload_cuda(ort: Any) -> None:
    """CUDA's and cuDNN's libraries from the nvidia wheels that torch brings, where they are installed."""
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
