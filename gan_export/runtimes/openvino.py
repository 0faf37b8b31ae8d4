"""OpenVINO on the CPU, in float32, or in bf16 by its hint; by default, it would narrow if the processor can."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gan_export._lib import untracked
from gan_export.errors import GanExportError, printable
from gan_export.formats.protobuf import check_external_data
from gan_export.graph.signature import Array, Feeds
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

_PRODUCTS = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")


@dataclass(frozen=True, slots=True)
class OpenVino:
    """openvino.Core().compile_model of a file in `format`."""

    name: str = "openvino"
    title: str = "OpenVINO"
    format: str = "onnx"
    devices: tuple[str, ...] = ("cpu",)
    hint: str = "f32"  # of the precision

    def availability(self, device: str = "cpu") -> Availability:
        if importlib.util.find_spec("openvino") is None:
            return Availability(False, "openvino is not installed; pip install openvino")
        if device != "cpu":
            return Availability(False, "openvino is used on the CPU only; use device=cpu")
        return AVAILABLE

    def load(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> OpenVinoSession | SamplerSession:
        require_available(self, device)
        if not path.is_file():
            raise GanExportError(f"{printable(str(path))} is no file")
        if self.format == "onnx":
            check_external_data(path)
        elif not (weights := path.with_suffix(".bin")).is_file():  # OpenVINO ends the process for a link to itself
            raise GanExportError(
                f"{printable(str(weights))} is no file, but {printable(path.name)} needs it for its weights"
            )
        openvino = untracked.openvino()
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": self.hint, "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        core = openvino.Core()
        try:
            compiled = core.compile_model(core.read_model(str(path)), "CPU", settings)
        except RuntimeError as e:
            raise GanExportError(f"{printable(str(path))}: OpenVINO can't load it: {_line(str(e))}") from e
        if not compiled.inputs or not compiled.outputs:
            raise GanExportError(f"{printable(str(path))} is a graph without inputs or without outputs")
        loaded = OpenVinoSession(self.name, compiled, openvino.__version__)
        if is_seeded(loaded.inputs):
            return SamplerSession(loaded, conditional="label" in loaded.inputs)
        return loaded


class OpenVinoSession:
    """A compiled graph, with inputs and outputs by the graph's own names."""

    def __init__(self, name: str, compiled: Any, version: str) -> None:
        self._compiled: Any = compiled
        self._own: Any = None  # the request of `run`
        self.inputs = [i.any_name for i in compiled.inputs]
        self._outputs = [o.any_name for o in compiled.outputs]
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
        return Shapes(
            {i.any_name: without_batch(_dimensions(i)) for i in compiled.inputs},
            {o.any_name: without_batch(_dimensions(o)) for o in compiled.outputs},
        )

    def run(self, feeds: Feeds) -> Outputs:
        self._own = self._own or self._open().create_infer_request()
        bound = OpenVinoBound(self._own, self._given(feeds), self._outputs)
        bound()
        return bound.outputs()

    def bind(self, feeds: Feeds) -> OpenVinoBound:
        return OpenVinoBound(self._open().create_infer_request(), self._given(feeds), self._outputs)

    def close(self) -> None:
        self._compiled = self._own = None

    def _open(self) -> Any:
        if self._compiled is None:
            raise GanExportError("openvino: the session is closed")
        return self._compiled

    def _given(self, feeds: Feeds) -> dict[str, Array]:
        return dict(feeds) if is_seeded(self.inputs) else checked_feeds(feeds, self.inputs)


class OpenVinoBound:
    """Bound inputs in host memory, shared and not copied; the outputs stay in a request of their own."""

    def __init__(self, request: Any, feeds: dict[str, Array], names: list[str]) -> None:
        self._request, self._feeds, self._names = request, feeds, names

    def __call__(self) -> None:
        try:
            self._request.infer(self._feeds, share_inputs=True, share_outputs=True)
        except RuntimeError as e:
            memory.check(e)
            raise GanExportError(f"OpenVINO can't run this model: {_line(str(e))}") from e

    def outputs(self) -> Outputs:
        return {name: np.array(self._request.get_output_tensor(i).data) for i, name in enumerate(self._names)}


def _dimensions(port: Any) -> list[int | None]:
    """Return the dimensions of an input or output, None for a free one."""
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return []
    return [int(d.get_length()) if d.is_static else None for d in shape]


def _precision(compiled: Any) -> str:
    """Return the precision of the products: float32 too if it was asked to narrow and narrows none of them."""
    name: str = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if name != "f32":
        nodes = [op.get_rt_info() for op in compiled.get_runtime_model().get_ops()]
        products = [n for n in nodes if str(_text(n, "layerType")) in _PRODUCTS]
        if not any(_text(n, "runtimePrecision") == name for n in products):
            return "fp32"
    return {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}.get(name, name)


def _text(info: Any, key: str) -> str:
    return str(info[key].astype(str)) if key in info else ""


def _line(text: str) -> str:
    return printable(" ".join(text.split()), limit=300)


OPENVINO = OpenVino()
OPENVINO_IR = OpenVino("openvino-ir", "OpenVINO IR", "openvino")
OPENVINO_BF16 = OpenVino("openvino-bf16", "OpenVINO bf16", hint="bf16")
