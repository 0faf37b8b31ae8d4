"""The registry of exporters.  Listing them imports none of the libraries that they need."""

from __future__ import annotations

from gan_export._lib.registry import Registry
from gan_export.exporters.base import Exporter
from gan_export.exporters.c.exporter import C
from gan_export.exporters.coreml import CoreMl
from gan_export.exporters.executorch import ExecuTorch
from gan_export.exporters.litert import LiteRt
from gan_export.exporters.native import NATIVE
from gan_export.exporters.ncnn import Ncnn
from gan_export.exporters.onnx.graph import Onnx
from gan_export.exporters.openvino import OpenVinoIr
from gan_export.exporters.safetensors import Safetensors
from gan_export.exporters.torch.aoti import Aoti
from gan_export.exporters.torch.pt2 import Pt2
from gan_export.exporters.torch.torchscript import TorchScript

EXPORTERS: Registry[Exporter] = Registry(
    "format",
    (
        Onnx(),
        TorchScript(),
        Pt2(),
        OpenVinoIr(),
        NATIVE,
        C,
        Safetensors(),
        Aoti(),
        Ncnn(),
        LiteRt(),
        ExecuTorch(),
        CoreMl(),
    ),
)
find = EXPORTERS.find
