"""OpenVINO on the CPU, float32 held: its own default narrows to bf16 where the processor can."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gan_export.errors import GanExportError, printable
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
from gan_export.runtimes.seeded import SeededSession, is_seeded


@dataclass(frozen=True, slots=True)
class OpenVino:
    """openvino.Core().compile_model of a file in `format`."""

    name: str = "openvino"
    title: str = "OpenVINO"
    format: Format = "onnx"
    devices: tuple[str, ...] = ("cpu",)

    def availability(self, device: str = "cpu") -> Availability:
        if importlib.util.find_spec("openvino") is None:
            return Availability(False, "openvino is not installed; pip install openvino")
        if device != "cpu":
            return Availability(False, "openvino is used on the CPU alone; use --device cpu")
        return AVAILABLE

    def load(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> OpenVinoSession | SeededSession:
        require(self, device)
        if not path.is_file():
            raise GanExportError(f"{printable(str(path))} is no file")
        if self.format == "onnx":
            check_external_data(path)
        import openvino

        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        core = openvino.Core()
        try:
            compiled = core.compile_model(core.read_model(str(path)), "CPU", settings)
        except RuntimeError as e:
            raise GanExportError(f"{printable(str(path))}: OpenVINO can't load it: {_line(str(e))}") from e
        loaded = OpenVinoSession(self.name, compiled, openvino.__version__)
        if is_seeded(loaded.inputs):
            return SeededSession(loaded, conditional="label" in loaded.inputs)
        return loaded


class OpenVinoSession:
    """A compiled graph: first input latents, a second one labels; the first output is the picture."""

    def __init__(self, name: str, compiled: Any, version: str) -> None:
        self._compiled: Any = compiled
        self._own: Any = None  # the request of `generate`
        self.inputs = [i.any_name for i in compiled.inputs]
        self._info = SessionInfo(
            runtime=name,
            version=version.split("-", maxsplit=1)[0],
            device="cpu",
            provider=str(compiled.get_property("EXECUTION_DEVICES")[0]),
            threads=int(compiled.get_property("INFERENCE_NUM_THREADS")),
            output="bytes" if compiled.outputs[0].element_type.to_string() == "u8" else "float",
            precision=_precision(compiled),
        )

    @property
    def info(self) -> SessionInfo:
        return self._info

    def shapes(self) -> Shapes:
        compiled = self._open()
        inputs = [_dimensions(i) for i in compiled.inputs]
        return graph_shapes(
            inputs,
            _dimensions(compiled.outputs[0]),
            bytes=self._info.output == "bytes",
            seeded=is_seeded(self.inputs),
        )

    def generate(self, latents: Floats, labels: Labels | None = None) -> Pictures:
        return self.run(self._feeds(latents, labels))

    def bind(self, latents: Floats, labels: Labels | None = None) -> OpenVinoBound:
        return self.bound(self._feeds(latents, labels))

    def run(self, feeds: dict[str, Any]) -> Pictures:
        """One call on inputs by name."""
        self._own = self._own or self._open().create_infer_request()
        bound = OpenVinoBound(self._own, feeds)
        bound()
        return bound.pictures()

    def bound(self, feeds: dict[str, Any]) -> OpenVinoBound:
        """Inputs by name, in a request of their own."""
        return OpenVinoBound(self._open().create_infer_request(), feeds)

    def close(self) -> None:
        self._compiled = self._own = None

    def _open(self) -> Any:
        if self._compiled is None:
            raise GanExportError("openvino: the session is closed")
        return self._compiled

    def _feeds(self, latents: Floats, labels: Labels | None) -> dict[str, Any]:
        feeds: dict[str, Any] = {self.inputs[0]: checked_latents(latents)}
        if len(self.inputs) > 1:
            feeds[self.inputs[1]] = checked_labels(labels)
        return feeds


class OpenVinoBound:
    """Inputs in host memory, which is the device's, shared and not copied; the output stays in a request of its own."""

    def __init__(self, request: Any, feeds: dict[str, Any]) -> None:
        self._request, self._feeds = request, feeds

    def __call__(self) -> None:
        try:
            self._request.infer(self._feeds, share_inputs=True, share_outputs=True)
        except RuntimeError as e:
            raise GanExportError(f"OpenVINO can't run this model: {_line(str(e))}") from e

    def pictures(self) -> Pictures:
        pictures: Pictures = np.array(self._request.get_output_tensor(0).data)
        return pictures


def _dimensions(port: Any) -> list[int | None]:
    """Of an input or an output, None for a free one."""
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return []
    return [int(d.get_length()) if d.is_static else None for d in shape]


def _precision(compiled: Any) -> str:
    name: str = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    return {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}.get(name, name)


def _line(text: str) -> str:
    return printable(" ".join(text.split()), limit=300)


OPENVINO = OpenVino()
OPENVINO_IR = OpenVino("openvino-ir", "OpenVINO IR", "openvino")
