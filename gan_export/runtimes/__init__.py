"""The registry of runtimes.  Listing them imports none of the libraries that they wrap."""

from __future__ import annotations

from gan_export._lib.registry import Registry
from gan_export.runtimes.aoti import AOTINDUCTOR
from gan_export.runtimes.base import Runtime
from gan_export.runtimes.c import C
from gan_export.runtimes.coreml import COREML
from gan_export.runtimes.eager import (
    AUTOTUNE,
    BF16,
    CHANNELS_LAST,
    COMPILE,
    COMPILE_BF16,
    COMPILE_FP16,
    EAGER,
    FOLDED,
    FP16,
    SAFETENSORS,
    TF32,
)
from gan_export.runtimes.executorch import EXECUTORCH
from gan_export.runtimes.litert import LITERT
from gan_export.runtimes.native import NATIVE
from gan_export.runtimes.ncnn import NCNN
from gan_export.runtimes.onnxruntime import ONNXRUNTIME
from gan_export.runtimes.openvino import OPENVINO, OPENVINO_BF16, OPENVINO_IR
from gan_export.runtimes.pt2 import PT2
from gan_export.runtimes.torchscript import TORCHSCRIPT

RUNTIMES: Registry[Runtime] = Registry(
    "runtime",
    (
        EAGER,
        FOLDED,
        CHANNELS_LAST,
        TORCHSCRIPT,
        COMPILE,
        AUTOTUNE,
        AOTINDUCTOR,
        ONNXRUNTIME,
        OPENVINO,
        NATIVE,
        C,
        PT2,
        OPENVINO_IR,
        OPENVINO_BF16,
        SAFETENSORS,
        NCNN,
        LITERT,
        EXECUTORCH,
        COREML,
        TF32,
        BF16,
        FP16,
        COMPILE_BF16,
        COMPILE_FP16,
    ),
)
find = RUNTIMES.find
