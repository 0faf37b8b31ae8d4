"""ExecuTorch on the CPU, by its Python bindings."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gan_export.errors import GanExportError, printable
from gan_export.formats import manifest as manifests
from gan_export.graph.signature import Signature
from gan_export.runtimes.base import (
    AVAILABLE,
    Availability,
    SessionInfo,
    Shapes,
    require_available,
    without_batch,
)
from gan_export.runtimes.onnxruntime import captured_stderr
from gan_export.runtimes.unbatched import UnbatchedSession, needed_manifest


@dataclass(frozen=True, slots=True)
class ExecuTorchRuntime:
    """The method `forward` of a .pte file."""

    name: str = "executorch"
    title: str = "ExecuTorch"
    format: str = "executorch"
    devices: tuple[str, ...] = ("cpu",)

    def availability(self, device: str = "cpu") -> Availability:
        if importlib.util.find_spec("executorch") is None:
            return Availability(False, "executorch is not installed; pip install executorch")
        if device != "cpu":
            return Availability(False, "executorch is used on the CPU only; use device=cpu")
        return AVAILABLE

    def load(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> UnbatchedSession:
        """Load a file; only XNNPACK uses several threads."""
        require_available(self, device)
        if not path.is_file():
            raise GanExportError(f"{printable(str(path))} is no file")
        manifest = (
            manifests.read_manifest(path, "executorch") if manifests.detect_format(path) == "executorch" else None
        )
        with captured_stderr():  # it logs the processor's features
            from executorch.extension.pybindings import portable_lib
            from executorch.runtime import Runtime

            if threads is not None:
                portable_lib._unsafe_reset_threadpool(threads)  # unsafe while a method runs, but none runs yet
            try:
                program = Runtime.get().load_program(path)
                method = program.load_method("forward")
            except (RuntimeError, ValueError, OSError) as e:
                why = printable(" ".join(str(e).split()), limit=200)
                raise GanExportError(f"{printable(str(path))}: ExecuTorch can't load it: {why}") from e
        backend = str(manifest.options.get("backend", "xnnpack")) if manifest else "portable"
        info = SessionInfo(
            runtime=self.name,
            version=importlib.metadata.version("executorch"),
            device="cpu",
            provider=backend,
            threads=int(portable_lib._threadpool_get_thread_count()) if backend == "xnnpack" else 1,
        )
        signature = needed_manifest(path, "executorch").signature
        return UnbatchedSession(ExecuTorchDraws(program, method), info, signature, _shapes(method.metadata, signature))


def _shapes(metadata: Any, signature: Signature) -> Shapes:
    """Return the shapes by position: a program has no names."""
    taken = [without_batch(metadata.input_tensor_meta(i).sizes()) for i in range(metadata.num_inputs())]
    given = [without_batch(metadata.output_tensor_meta(i).sizes()) for i in range(metadata.num_outputs())]
    inputs = [p.name for p in signature.inputs] if len(signature.inputs) == len(taken) else map(str, range(len(taken)))
    outputs = [p.name for p in signature.outputs]
    return Shapes(dict(zip(inputs, taken, strict=True)), dict(zip(outputs, given, strict=False)))


class ExecuTorchDraws:
    """An `unbatched.ImageRunner`.  It keeps the program, which owns the method."""

    def __init__(self, program: Any, method: Any) -> None:
        self._program, self._method = program, method

    def inputs(self, arrays: tuple[NDArray[Any], ...]) -> list[Any]:
        import torch

        return [torch.from_numpy(array.copy()) for array in arrays]

    def run(self, inputs: list[Any]) -> Any:
        try:
            return [made.clone() for made in self._method.execute(inputs)]
        except RuntimeError as e:
            raise GanExportError(f"ExecuTorch can't run this model: {printable(' '.join(str(e).split()))}") from e

    def arrays(self, made: Any) -> list[NDArray[Any]]:
        return [tensor.numpy() for tensor in made]


EXECUTORCH = ExecuTorchRuntime()
