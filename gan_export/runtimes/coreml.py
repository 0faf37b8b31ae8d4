"""Core ML on the CPU, by coremltools; only on macOS, whose library it needs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_export.errors import GanExportError, printable
from gan_export.formats import manifest as manifests
from gan_export.graph.signature import Signature
from gan_export.runtimes.base import (
    AVAILABLE,
    Availability,
    SessionInfo,
    Shape,
    Shapes,
    require_available,
    without_batch,
)
from gan_export.runtimes.unbatched import UnbatchedSession


@dataclass(frozen=True, slots=True)
class CoreMlRuntime:
    """An MLModel restricted to the CPU, because the Neural Engine and the GPU compute in fp16."""

    name: str = "coreml"
    title: str = "Core ML"
    format: str = "coreml"
    devices: tuple[str, ...] = ("cpu",)

    def availability(self, device: str = "cpu") -> Availability:
        if platform.system() != "Darwin":
            return Availability(False, "Core ML runs on macOS only", elsewhere=True)
        if importlib.util.find_spec("coremltools") is None:
            return Availability(False, "coremltools is not installed; pip install coremltools")
        if device != "cpu":
            return Availability(False, "coreml is used on the CPU only; use device=cpu")
        return AVAILABLE

    def load(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> UnbatchedSession:
        """Load a package; `threads` is ignored, because Core ML has no such setting."""
        require_available(self, device)
        manifest = manifests.read_manifest(path, "coreml") if manifests.detect_format(path) == "coreml" else None
        if manifest is None:
            raise GanExportError(f"{printable(str(path))} is no .mlpackage of gan-export")
        import coremltools as ct

        try:
            model = ct.models.MLModel(str(path), compute_units=ct.ComputeUnit.CPU_ONLY)
        except (RuntimeError, ValueError, OSError) as e:
            why = printable(" ".join(str(e).split()), limit=200)
            raise GanExportError(f"{printable(str(path))}: Core ML can't load it: {why}") from e
        info = SessionInfo(
            runtime=self.name,
            version=f"{platform.mac_ver()[0]}, coremltools {importlib.metadata.version('coremltools')}",
            device="cpu",
            provider="CPU_ONLY",
            threads=os.cpu_count() or 1,
            precision=manifest.precision,
        )
        shapes = _shapes(model.get_spec().description)
        return UnbatchedSession(CoreMlDraws(model, manifest.signature), info, manifest.signature, shapes)


def _shapes(description: Any) -> Shapes:
    """Return the shapes in a model's description, which may lack those of outputs."""

    def sides(ports: Any) -> dict[str, Shape | None]:
        dims = {port.name: [int(d) for d in port.type.multiArrayType.shape] for port in ports}
        return {name: without_batch(found) if found else None for name, found in dims.items()}

    return Shapes(sides(description.input), sides(description.output))


class CoreMlDraws:
    """An `unbatched.ImageRunner` for a loaded MLModel."""

    def __init__(self, model: Any, signature: Signature) -> None:
        self._model = model
        self._signature = signature

    def inputs(self, arrays: tuple[NDArray[Any], ...]) -> dict[str, NDArray[Any]]:
        narrow = [a.astype(np.int32) if a.dtype == np.int64 else a for a in arrays]
        return {port.name: array for port, array in zip(self._signature.inputs, narrow, strict=True)}

    def run(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        try:
            made: dict[str, NDArray[Any]] = self._model.predict(inputs)
        except RuntimeError as e:
            raise GanExportError(f"Core ML can't run this model: {printable(' '.join(str(e).split()))}") from e
        return made

    def arrays(self, made: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        return [np.asarray(made[port.name], np.float32) for port in self._signature.outputs]


COREML = CoreMlRuntime()
