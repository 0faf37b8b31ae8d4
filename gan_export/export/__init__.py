"""Every format there is, by name.  Listing them imports none of the libraries that they need."""

from __future__ import annotations

from gan_export._lib.registry import Registry
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
