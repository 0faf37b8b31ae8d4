"""The backends that gan-bench compares.  To add one, add a line here and its runtime in `runtimes`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gan_export._lib.registry import Registry

BOTH = ("cpu", "cuda")
CPU = ("cpu",)
CUDA = ("cuda",)
SEEDED: dict[str, Any] = {"sampler": True}  # options of an export that takes a seed and computes the latents itself


@dataclass(frozen=True, slots=True)
class Backend:
    """A runtime, and the export that it runs.

    runtime: the runtime's name in the registry
    export:  the exporter of its file; None if it runs the checkpoint itself
    options: the exporter's options; only a backend without options runs the user's own file instead, if there is one
    usual:   whether it runs when no backend is named; if not, it also runs for the user's own file of its kind
    folded:  whether BatchNorm is folded into the convolutions of what it runs
    fewer_products: whether it multiplies less than the spec's FLOPs (Toom-Cook), and so may exceed the measured peak
    """

    name: str
    title: str
    runtime: str
    export: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    devices: tuple[str, ...] = BOTH
    usual: bool = True
    folded: bool = True
    fewer_products: bool = False


BACKENDS: Registry[Backend] = Registry(
    "runtime",
    (
        Backend("eager", "PyTorch eager", "eager", folded=False),
        Backend("eager-folded", "PyTorch eager, folded", "eager-folded"),
        Backend("channels-last", "PyTorch channels_last", "channels-last"),
        Backend("torchscript", "TorchScript", "torchscript", "torchscript"),
        Backend("script", "TorchScript scripted", "torchscript", "torchscript", {"method": "script"}),
        Backend("trace", "TorchScript traced", "torchscript", "torchscript", {"method": "trace"}),
        Backend("torchscript-sampler", "TorchScript, from a seed", "torchscript", "torchscript", SEEDED, usual=False),
        Backend("compile", "torch.compile", "compile"),
        Backend("compile-autotune", "torch.compile max-autotune", "compile-autotune", usual=False),
        Backend("compile-bf16", "torch.compile bf16", "compile-bf16", devices=CPU, usual=False),
        Backend("aotinductor", "AOTInductor", "aotinductor", "aoti"),
        Backend("onnxruntime", "ONNX Runtime", "onnxruntime", "onnx"),
        Backend("onnx-sampler", "ONNX Runtime, from a seed", "onnxruntime", "onnx", SEEDED, usual=False),
        Backend("onnxruntime-fp16", "ONNX Runtime fp16", "onnxruntime", "onnx", {"precision": "fp16"}, usual=False),
        Backend(
            "onnxruntime-int8", "ONNX Runtime int8", "onnxruntime", "onnx", {"precision": "int8"}, CPU, usual=False
        ),
        Backend("openvino", "OpenVINO", "openvino", "onnx", devices=CPU),
        Backend("openvino-bf16", "OpenVINO bf16", "openvino-bf16", "onnx", devices=CPU, usual=False),
        Backend("pt2", "torch.export", "pt2", "pt2", devices=CPU, usual=False),
        Backend("pt2-sampler", "torch.export, from a seed", "pt2", "pt2", SEEDED, CPU, usual=False),
        Backend("openvino-ir", "OpenVINO IR", "openvino-ir", "openvino", devices=CPU, usual=False),
        Backend(
            "openvino-ir-int8", "OpenVINO IR int8", "openvino-ir", "openvino", {"precision": "int8"}, CPU, usual=False
        ),
        Backend("native", "gan-export native", "native", "native", devices=CPU, fewer_products=True),
        Backend(
            "native-fast",
            "gan-export native, 16-bit",
            "native",
            "native",
            {"arithmetic": "fast"},
            CPU,
            usual=False,
            fewer_products=True,
        ),
        Backend("c", "plain C, one thread", "c", "c", devices=CPU, usual=False),
        Backend("ncnn", "ncnn", "ncnn", "ncnn", devices=CPU),
        Backend("litert", "LiteRT", "litert", "litert", devices=CPU),
        Backend("executorch", "ExecuTorch, XNNPACK", "executorch", "executorch", devices=CPU),
        Backend("coreml", "Core ML", "coreml", "coreml", devices=CPU),
        Backend(
            "executorch-portable",
            "ExecuTorch, portable",
            "executorch",
            "executorch",
            {"backend": "portable"},
            CPU,
            usual=False,
        ),
        Backend("eager-tf32", "PyTorch TF32", "eager-tf32", devices=CUDA),
        Backend("eager-bf16", "PyTorch bf16", "eager-bf16", devices=CUDA),
        Backend("eager-fp16", "PyTorch fp16", "eager-fp16", devices=CUDA),
        Backend("compile-fp16", "torch.compile fp16", "compile-fp16", devices=CUDA),
    ),
)
find = BACKENDS.find


def default_backends(device: str) -> tuple[Backend, ...]:
    """Return the backends that run on `device` when none is named."""
    return tuple(c for c in BACKENDS if c.usual and device in c.devices)
