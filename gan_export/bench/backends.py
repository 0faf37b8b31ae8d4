"""What takes part: a runtime, and what it is given.  To add one: a line here, and its runtime in `runtimes`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gan_export._lib.registry import Registry

BOTH = ("cpu", "cuda")
CPU = ("cpu",)
CUDA = ("cuda",)
SEEDED: dict[str, Any] = {"sampler": True}  # the options of a file that draws from a seed


@dataclass(frozen=True, slots=True)
class Contender:
    """One line of the table.

    runtime: its name in the runtimes' registry
    export:  the exporter that makes its artifact; None: it takes the checkpoint itself
    options: what is asked of the exporter; one without options takes the user's own artifact, where there is one
    usual:   takes part when nobody names who should; another one does where the user's own file is for it
    folded:  whether BatchNorm is folded away in what it runs
    fewer_products: it multiplies less than the spec's FLOPs count (Toom-Cook), and so may pass the machine's peak
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


CONTENDERS: Registry[Contender] = Registry(
    "runtime",
    (
        Contender("eager", "PyTorch eager", "eager", folded=False),
        Contender("eager-folded", "PyTorch eager, folded", "eager-folded"),
        Contender("channels-last", "PyTorch channels_last", "channels-last"),
        Contender("torchscript", "TorchScript", "torchscript", "torchscript"),
        Contender("script", "TorchScript scripted", "torchscript", "torchscript", {"method": "script"}),
        Contender("trace", "TorchScript traced", "torchscript", "torchscript", {"method": "trace"}),
        Contender("torchscript-sampler", "TorchScript, from a seed", "torchscript", "torchscript", SEEDED, usual=False),
        Contender("compile", "torch.compile", "compile"),
        Contender("compile-autotune", "torch.compile max-autotune", "compile-autotune", usual=False),
        Contender("aotinductor", "AOTInductor", "aotinductor", "aoti"),
        Contender("onnxruntime", "ONNX Runtime", "onnxruntime", "onnx"),
        Contender("onnx-sampler", "ONNX Runtime, from a seed", "onnxruntime", "onnx", SEEDED, usual=False),
        Contender("onnxruntime-fp16", "ONNX Runtime fp16", "onnxruntime", "onnx", {"precision": "fp16"}, usual=False),
        Contender(
            "onnxruntime-int8", "ONNX Runtime int8", "onnxruntime", "onnx", {"precision": "int8"}, CPU, usual=False
        ),
        Contender("openvino", "OpenVINO", "openvino", "onnx", devices=CPU),
        Contender("pt2", "torch.export", "pt2", "pt2", devices=CPU, usual=False),
        Contender("pt2-sampler", "torch.export, from a seed", "pt2", "pt2", SEEDED, CPU, usual=False),
        Contender("openvino-ir", "OpenVINO IR", "openvino-ir", "openvino", devices=CPU, usual=False),
        Contender(
            "openvino-ir-int8", "OpenVINO IR int8", "openvino-ir", "openvino", {"precision": "int8"}, CPU, usual=False
        ),
        Contender("native", "gan-export native", "native", "native", devices=CPU, fewer_products=True),
        Contender("c", "plain C, one thread", "c", "c", devices=CPU, usual=False),
        Contender("ncnn", "ncnn", "ncnn", "ncnn", devices=CPU),
        Contender("litert", "LiteRT", "litert", "litert", devices=CPU),
        Contender("executorch", "ExecuTorch, XNNPACK", "executorch", "executorch", devices=CPU),
        Contender("coreml", "Core ML", "coreml", "coreml", devices=CPU),
        Contender(
            "executorch-portable",
            "ExecuTorch, portable",
            "executorch",
            "executorch",
            {"backend": "portable"},
            CPU,
            usual=False,
        ),
        Contender("eager-tf32", "PyTorch TF32", "eager-tf32", devices=CUDA),
        Contender("eager-bf16", "PyTorch bf16", "eager-bf16", devices=CUDA),
        Contender("eager-fp16", "PyTorch fp16", "eager-fp16", devices=CUDA),
        Contender("compile-fp16", "torch.compile fp16", "compile-fp16", devices=CUDA),
    ),
)
find = CONTENDERS.find


def usual(device: str) -> tuple[Contender, ...]:
    """Who takes part on `device` when nobody is named."""
    return tuple(c for c in CONTENDERS if c.usual and device in c.devices)
