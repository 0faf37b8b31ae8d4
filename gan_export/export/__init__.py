"""Every format there is, by name.  Listing them imports none of the libraries that they need."""

from __future__ import annotations

import difflib

from gan_export.errors import GanExportError, printable
from gan_export.export.aoti import Aoti
from gan_export.export.base import Exporter
from gan_export.export.c import C
from gan_export.export.coreml import CoreMl
from gan_export.export.executorch import ExecuTorch
from gan_export.export.litert import LiteRt
from gan_export.export.native import NATIVE
from gan_export.export.ncnn import Ncnn
from gan_export.export.onnx import Onnx
from gan_export.export.openvino import OpenVinoIr
from gan_export.export.pt2 import Pt2
from gan_export.export.safetensors import Safetensors
from gan_export.export.torchscript import TorchScript

EXPORTERS: tuple[Exporter, ...] = (
    Onnx(), TorchScript(), Pt2(), OpenVinoIr(), NATIVE, C, Safetensors(), Aoti(), Ncnn(), LiteRt(), ExecuTorch(),
    CoreMl(),
)  # fmt: skip


def find(name: str) -> Exporter:
    """The exporter of that name.  Raises GanExportError, naming the nearest, where there is none."""
    for exporter in EXPORTERS:
        if exporter.name == name:
            return exporter
    names = [e.name for e in EXPORTERS]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    raise GanExportError(f"no format is called {printable(name)}; {hint}")
