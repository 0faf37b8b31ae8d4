"""ncnn on the CPU, float32 held: its own default narrows to fp16 or bf16 where the processor can."""

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
from gan_export.runtimes.base import AVAILABLE, Availability, SessionInfo, Shapes, require_available
from gan_export.runtimes.unbatched import UnbatchedSession, needed_manifest

_NARROW = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage", "use_bf16_packed")

_HEAD = 4096  # characters of a .param, among which the inputs are


@dataclass(frozen=True, slots=True)
class NcnnRuntime:
    """ncnn.Net of a .param file, whose weights lie beside it."""

    name: str = "ncnn"
    title: str = "ncnn"
    format: str = "ncnn"
    devices: tuple[str, ...] = ("cpu",)

    def availability(self, device: str = "cpu") -> Availability:
        if importlib.util.find_spec("ncnn") is None:
            return Availability(False, "ncnn is not installed; pip install ncnn")
        if device != "cpu":
            return Availability(False, "ncnn is used on the CPU alone; use --device cpu")
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
        return UnbatchedSession(NcnnDraws(net, len(signature.outputs)), info, signature, shapes)


def _latents(path: Path) -> int | None:
    """The length in the line of the first input, where exports since version 2 of the manifest have it."""
    with open(path, encoding="utf-8", errors="replace") as f:
        found = re.search(r"(?m)^Input +in0 .* 0=(\d{1,9})\s*$", f.read(_HEAD))
    return int(found[1]) if found else None


class NcnnDraws:
    """As `unbatched.ImageRunner`, by a loaded net."""

    def __init__(self, net: Any, outputs: int) -> None:
        self._net, self._outputs = net, outputs

    def inputs(self, arrays: tuple[NDArray[Any], ...]) -> list[Any]:
        import ncnn

        return [ncnn.Mat(a[0] if a.ndim > 1 else a.astype(np.int32)).clone() for a in arrays]

    def run(self, inputs: list[Any]) -> Any:
        extractor = self._net.create_extractor()
        for number, array in enumerate(inputs):
            extractor.input(f"in{number}", array)
        made = [extractor.extract(f"out{number}") for number in range(self._outputs)]
        if any(code != 0 for code, _ in made):
            raise GanExportError("ncnn can't run this model")
        return [array for _, array in made]

    def arrays(self, made: Any) -> list[NDArray[Any]]:
        return [np.array(array) for array in made]


NCNN = NcnnRuntime()
