"""PyTorch on a checkpoint, without an export: the reference, and torch's own ways to be faster.

The entries differ only in one function, which makes a callable from the spec and its weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gan_export.runtimes.base import Availability, require_available, shapes_of
from gan_export.runtimes.torch_session import (
    Call,
    TorchSession,
    compiler_availability,
    prepare_torch,
    session_info,
    torch_availability,
)

if TYPE_CHECKING:
    from gan_export.checkpoint import Checkpoint

Build = Callable[["Checkpoint", str], Call]


@dataclass(frozen=True, slots=True)
class CheckpointRuntime:
    """A runtime of checkpoint files; `build` makes a callable from (checkpoint, device)."""

    name: str
    title: str
    build: Build
    devices: tuple[str, ...] = ("cpu", "cuda")
    compiles: bool = False
    precision: str = "fp32"
    format: str = "checkpoint"

    def availability(self, device: str = "cpu") -> Availability:
        found = torch_availability(device)
        return compiler_availability() if found.ok and self.compiles and device == "cpu" else found

    def load(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> TorchSession:
        require_available(self, device)
        from gan_export import checkpoint

        return self.open(checkpoint.read(path, by_evidence=False), device=device, threads=threads)

    def open(self, read: Checkpoint, *, device: str = "cpu", threads: int | None = None) -> TorchSession:
        """Open a checkpoint that is already read, with the user's flags applied."""
        require_available(self, device)
        prepare_torch(device, threads)
        info = session_info(self.name, device, self.precision)
        shapes = shapes_of(read.signature)
        return TorchSession(self.build(read, device), info, *read.signature.names(), shapes)


def _eager(read: Checkpoint, device: str) -> Call:
    from gan_export.graph.torch_module import build_module

    return build_module(read.spec, read.weights).to(device)


def _folded(read: Checkpoint, device: str) -> Call:
    from gan_export.graph.lower import lower
    from gan_export.graph.torch_module import build_module

    return build_module(*lower(read.spec, read.weights)).to(device)


def _channels_last(read: Checkpoint, device: str) -> Call:
    import torch

    from gan_export.graph.lower import lower
    from gan_export.graph.torch_module import build_module

    module = build_module(*lower(read.spec, read.weights)).to(device)
    return module.to(memory_format=torch.channels_last)


def _compiled(read: Checkpoint, device: str) -> Call:
    return _compile(read, device, "default")


def _autotuned(read: Checkpoint, device: str) -> Call:
    return _compile(read, device, "max-autotune")


def _compile(read: Checkpoint, device: str, mode: str) -> Call:
    return _to_compiled(_folded(read, device), mode)


def _to_compiled(module: Call, mode: str) -> Call:
    """Compile one graph per batch size, with constants folded.

    More sizes than torch allows are an error, not a fallback.
    """
    import torch
    from torch._dynamo import config as dynamo
    from torch._inductor import config as inductor

    inductor.freezing = True
    dynamo.recompile_limit = 64
    dynamo.fail_on_recompile_limit_hit = True
    return torch.compile(module, mode=mode, dynamic=False)


def _tf32(read: Checkpoint, device: str) -> Call:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    return _channels_last(read, device)


def _bf16(read: Checkpoint, device: str) -> Call:
    import torch

    return _narrowed(_channels_last(read, device), torch.bfloat16)


def _fp16(read: Checkpoint, device: str) -> Call:
    import torch

    return _narrowed(_channels_last(read, device), torch.float16)


def _compiled_fp16(read: Checkpoint, device: str) -> Call:
    import torch

    return _to_compiled(_narrowed(_channels_last(read, device), torch.float16), "max-autotune")


def _compiled_bf16(read: Checkpoint, device: str) -> Call:
    import torch

    return _to_compiled(_narrowed(_folded(read, device), torch.bfloat16), "default")


def _narrowed(module: Call, dtype: object) -> Call:
    """Convert weights and values to `dtype`; latents and images stay float32."""
    import torch

    class Narrowed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module.to(dtype)  # type: ignore[attr-defined]

        def forward(self, z: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
            inputs = (z.to(dtype),) if label is None else (z.to(dtype), label)  # type: ignore[call-overload]
            result: torch.Tensor = self.inner(*inputs)
            return result.float()

    return Narrowed()


EAGER = CheckpointRuntime("eager", "PyTorch eager", _eager)
FOLDED = CheckpointRuntime("eager-folded", "PyTorch eager, BatchNorm folded", _folded)
CHANNELS_LAST = CheckpointRuntime("channels-last", "PyTorch channels_last, folded", _channels_last)
COMPILE = CheckpointRuntime("compile", "torch.compile, frozen", _compiled, compiles=True)
AUTOTUNE = CheckpointRuntime("compile-autotune", "torch.compile max-autotune, frozen", _autotuned, compiles=True)
SAFETENSORS = CheckpointRuntime("safetensors", "PyTorch eager on safetensors", _eager, format="safetensors")

_GPU = ("cuda",)
TF32 = CheckpointRuntime("eager-tf32", "PyTorch TF32, channels_last", _tf32, _GPU, precision="tf32")
BF16 = CheckpointRuntime("eager-bf16", "PyTorch bf16, channels_last", _bf16, _GPU, precision="bf16")
FP16 = CheckpointRuntime("eager-fp16", "PyTorch fp16, channels_last", _fp16, _GPU, precision="fp16")
COMPILE_BF16 = CheckpointRuntime(
    "compile-bf16", "torch.compile bf16, frozen", _compiled_bf16, ("cpu",), compiles=True, precision="bf16"
)
COMPILE_FP16 = CheckpointRuntime(
    "compile-fp16", "torch.compile fp16, frozen", _compiled_fp16, _GPU, compiles=True, precision="fp16"
)
