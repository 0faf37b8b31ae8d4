"""ncnn on the CPU in float32; by default, it would narrow to fp16 or bf16 if the processor can."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_export.errors import GanExportError, printable
from gan_export.formats.ncnn import IMAGE_IN, IMAGE_OUT
from gan_export.graph.signature import Signature
from gan_export.runtimes.base import AVAILABLE, Availability, SessionInfo, Shapes, require_available
from gan_export.runtimes.unbatched import UnbatchedSession, needed_manifest

_NARROW = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage", "use_bf16_packed")

_HEAD = 4096  # characters at the start of a .param, which contain the inputs


@dataclass(frozen=True, slots=True)
class NcnnRuntime:
    """ncnn.Net of a .param file, with its weights beside it."""

    name: str = "ncnn"
    title: str = "ncnn"
    format: str = "ncnn"
    devices: tuple[str, ...] = ("cpu",)

    def availability(self, device: str = "cpu") -> Availability:
        if importlib.util.find_spec("ncnn") is None:
            return Availability(False, "ncnn is not installed; pip install ncnn")
        if device != "cpu":
            return Availability(False, "ncnn is used on the CPU only; use device=cpu")
        return AVAILABLE

    def load(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> UnbatchedSession:
        require_available(self, device)
        weights = path.with_suffix(".bin")
        for file in (path, weights):
            if not file.is_file():
                raise GanExportError(f"{printable(str(file))} is no file")
        manifest = needed_manifest(path, "ncnn")
        import ncnn

        net = ncnn.Net()
        for name in _NARROW:
            if hasattr(net.opt, name):
                setattr(net.opt, name, False)
        net.opt.num_threads = threads or ncnn.get_physical_big_cpu_count()
        if net.load_param(str(path)) != 0:
            raise GanExportError(f"{printable(str(path))}: ncnn can't load it")
        if net.load_model(str(weights)) != 0:
            raise GanExportError(f"{printable(str(weights))}: ncnn can't load these weights")
        info = SessionInfo(
            runtime=self.name,
            version=importlib.metadata.version("ncnn"),
            device="cpu",
            provider="CPU",
            threads=int(net.opt.num_threads),
            precision=manifest.precision,
        )
        signature = manifest.signature
        names = [p.name for p in signature.inputs]
        if len(net.input_names()) == len(names):
            length = _latents(path)
            first = None if length is None else (length,)
            shapes = Shapes({**dict.fromkeys(names), names[0]: first})
        else:
            shapes = Shapes(dict.fromkeys(map(str, net.input_names())))
        return UnbatchedSession(NcnnDraws(net, *_blobs(signature)), info, signature, shapes)


def _blobs(signature: Signature) -> tuple[list[str], list[str]]:
    """Return the names of the inputs and outputs in the file."""
    inputs, outputs = (
        [f"in{i}" for i in range(len(signature.inputs))],
        [f"out{i}" for i in range(len(signature.outputs))],
    )
    if signature.inputs[0].kind == "image":
        inputs[0], outputs[0] = IMAGE_IN, IMAGE_OUT
    return inputs, outputs


def _latents(path: Path) -> int | None:
    """Return the length in the line of the first input; exports since version 2 of the manifest have it."""
    with open(path, encoding="utf-8", errors="replace") as f:
        found = re.search(r"(?m)^Input +in0 .* 0=(\d{1,9})\s*$", f.read(_HEAD))
    return int(found[1]) if found else None


class NcnnDraws:
    """An `unbatched.ImageRunner` for a loaded net."""

    def __init__(self, net: Any, inputs: list[str], outputs: list[str]) -> None:
        self._net, self._names, self._outputs = net, inputs, outputs

    def inputs(self, arrays: tuple[NDArray[Any], ...]) -> list[Any]:
        import ncnn

        return [ncnn.Mat(np.ascontiguousarray(a[0]) if a.ndim > 1 else a.astype(np.int32)).clone() for a in arrays]

    def run(self, inputs: list[Any]) -> Any:
        extractor = self._net.create_extractor()
        for name, array in zip(self._names, inputs, strict=True):
            extractor.input(name, array)
        made = [extractor.extract(name) for name in self._outputs]
        if any(code != 0 for code, _ in made):
            raise GanExportError("ncnn can't run this model")
        return [array for _, array in made]

    def arrays(self, made: Any) -> list[NDArray[Any]]:
        return [np.array(array) for array in made]


NCNN = NcnnRuntime()
