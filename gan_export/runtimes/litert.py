"""LiteRT on the CPU, by ai-edge-litert's interpreter."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gan_export.errors import GanExportError, printable
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
from gan_export.runtimes.unbatched import UnbatchedSession, needed_manifest


@dataclass(frozen=True, slots=True)
class LiteRtRuntime:
    """The interpreter with its default delegate, XNNPACK."""

    name: str = "litert"
    title: str = "LiteRT"
    format: str = "litert"
    devices: tuple[str, ...] = ("cpu",)

    def availability(self, device: str = "cpu") -> Availability:
        if importlib.util.find_spec("ai_edge_litert") is None:
            return Availability(False, "ai_edge_litert is not installed; pip install ai-edge-litert")
        if device != "cpu":
            return Availability(False, "litert is used on the CPU only; use device=cpu")
        return AVAILABLE

    def load(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> UnbatchedSession:
        require_available(self, device)
        if not path.is_file():
            raise GanExportError(f"{printable(str(path))} is no file")
        from ai_edge_litert.interpreter import Interpreter

        used = threads or os.cpu_count() or 1
        try:
            interpreter = Interpreter(model_path=str(path), num_threads=used)
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as e:
            why = printable(" ".join(str(e).split()), limit=200)
            raise GanExportError(f"{printable(str(path))}: LiteRT can't load it: {why}") from e
        info = SessionInfo(
            runtime=self.name,
            version=importlib.metadata.version("ai-edge-litert"),
            device="cpu",
            provider="XNNPACK",
            threads=used,
        )
        signature = needed_manifest(path, "litert").signature
        return UnbatchedSession(LiteRtDraws(interpreter), info, signature, _shapes(interpreter, signature))


def _shapes(interpreter: Any, signature: Signature) -> Shapes:
    """Return the shapes by position: the converter gives names of its own."""
    sides: list[dict[str, Shape | None]] = []
    for entries, ports in (
        (sorted(interpreter.get_input_details(), key=_name), signature.inputs),
        (interpreter.get_output_details(), signature.outputs),
    ):
        found: list[Shape] = [without_batch(int(d) for d in entry["shape"]) for entry in entries]
        names = [p.name for p in ports] if len(ports) == len(found) else [str(entry["name"]) for entry in entries]
        sides.append(dict(zip(names, found, strict=True)))
    return Shapes(inputs=sides[0], outputs=sides[1])


class LiteRtDraws:
    """An `unbatched.ImageRunner` for an interpreter with its tensors allocated."""

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        entries = sorted(interpreter.get_input_details(), key=_name)
        self.places = [int(entry["index"]) for entry in entries]
        self._types = [entry["dtype"] for entry in entries]  # the converter makes labels int32
        self._outputs = [int(entry["index"]) for entry in interpreter.get_output_details()]

    def inputs(self, arrays: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ...]:
        return tuple(array.astype(dtype) for array, dtype in zip(arrays, self._types, strict=True))

    def run(self, inputs: tuple[NDArray[Any], ...]) -> list[NDArray[Any]]:
        for place, array in zip(self.places, inputs, strict=True):
            self._interpreter.set_tensor(place, array)
        try:
            self._interpreter.invoke()
        except RuntimeError as e:
            raise GanExportError(f"LiteRT can't run this model: {printable(' '.join(str(e).split()))}") from e
        return [self._interpreter.get_tensor(place) for place in self._outputs]

    def arrays(self, made: list[NDArray[Any]]) -> list[NDArray[Any]]:
        return made


def _name(entry: dict[str, Any]) -> str:
    """Return a name that sorts args_0 before args_1."""
    return str(entry["name"])


LITERT = LiteRtRuntime()
