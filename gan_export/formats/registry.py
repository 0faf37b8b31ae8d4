"""The registered formats, in the order of detection: the first that detects a file is its format.

Formats of plugins come last, so that they can't claim the files of a built-in format.
"""

from __future__ import annotations

from gan_export._lib.registry import Registry
from gan_export.formats.archives import AOTI, PT2, TORCHSCRIPT
from gan_export.formats.base import Format
from gan_export.formats.c import C
from gan_export.formats.coreml import COREML
from gan_export.formats.flatbuffers import EXECUTORCH, LITERT
from gan_export.formats.gan import GAN
from gan_export.formats.ncnn import NCNN
from gan_export.formats.onnx import ONNX
from gan_export.formats.openvino import OPENVINO
from gan_export.formats.safetensors import SAFETENSORS

FORMATS: Registry[Format] = Registry(
    "format",
    (
        GAN,
        TORCHSCRIPT,
        AOTI,
        PT2,
        OPENVINO,
        NCNN,
        LITERT,
        EXECUTORCH,
        SAFETENSORS,
        ONNX,
        COREML,
        C,
    ),
)
