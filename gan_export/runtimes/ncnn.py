"""ncnn on the CPU, float32 held: its own default narrows to fp16 or bf16 where the processor can."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gan_export import artifact
from gan_export.errors import GanExportError, printable
from gan_export.runtimes.base import (
    AVAILABLE,
    Availability,
    Floats,
    Format,
    Labels,
    Pictures,
    SessionInfo,
    checked_latents,
    require,
)

_NARROW = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage", "use_bf16_packed")


@dataclass(frozen=True, slots=True)
class NcnnRuntime:
    """ncnn.Net of a .param file, whose weights lie beside it."""

    name: str = "ncnn"
    title: str = "ncnn"
    format: Format = "ncnn"
    devices: tuple[str, ...] = ("cpu",)

    def availability(self, device: str = "cpu") -> Availability:
        if importlib.util.find_spec("ncnn") is None:
            return Availability(False, "ncnn is not installed; pip install ncnn")
        if device != "cpu":
            return Availability(False, "ncnn is used on the CPU alone; use --device cpu")
        return AVAILABLE

    def load(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> NcnnSession:
        require(self, device)
        weights = path.with_suffix(".bin")
        for file in (path, weights):
            if not file.is_file():
                raise GanExportError(f"{printable(str(file))} is no file")
        manifest = artifact.read_manifest(path, "ncnn")
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
        return NcnnSession(net, manifest.precision if manifest else "fp32")


class NcnnSession:
    """A loaded net; a call draws its pictures one after the other."""

    def __init__(self, net: Any, precision: str) -> None:
        self._net: Any = net
        self._conditional = len(net.input_names()) > 1
        self._info = SessionInfo(
            runtime="ncnn",
            version=importlib.metadata.version("ncnn"),
            device="cpu",
            provider="CPU",
            threads=int(net.opt.num_threads),
            precision=precision,
        )

    @property
    def info(self) -> SessionInfo:
        return self._info

    def generate(self, latents: Floats, labels: Labels | None = None) -> Pictures:
        bound = self.bind(latents, labels)
        bound()
        return bound.pictures()

    def bind(self, latents: Floats, labels: Labels | None = None) -> NcnnBound:
        if self._net is None:
            raise GanExportError("ncnn: the session is closed")
        z = checked_latents(latents)
        if not self._conditional:
            return NcnnBound(self._net, [(one,) for one in z])
        if labels is None:
            raise GanExportError("this generator is conditional: give it labels")
        numbers = np.ascontiguousarray(labels, np.int32)
        return NcnnBound(self._net, [(one, numbers[i : i + 1]) for i, one in enumerate(z)])

    def close(self) -> None:
        self._net = None


class NcnnBound:
    """Inputs (latents, and a label) of each picture, in host memory, and the last pictures there."""

    def __init__(self, net: Any, inputs: list[tuple[Any, ...]]) -> None:
        import ncnn

        self._net = net
        self._inputs = [tuple(ncnn.Mat(array).clone() for array in one) for one in inputs]
        self._last: list[Any] = []

    def __call__(self) -> None:
        last = []
        for one in self._inputs:
            extractor = self._net.create_extractor()
            for number, array in enumerate(one):
                extractor.input(f"in{number}", array)
            code, picture = extractor.extract("out0")
            if code != 0:
                raise GanExportError("ncnn can't run this model")
            last.append(picture)
        self._last = last

    def pictures(self) -> Pictures:
        pictures: Pictures = np.stack([_without_batch(np.array(picture)) for picture in self._last])
        return pictures


def _without_batch(picture: Floats) -> Floats:
    """(C, H, W), where a reshape's own batch of one may have stayed in front."""
    return picture.reshape(picture.shape[-3:])


NCNN = NcnnRuntime()
