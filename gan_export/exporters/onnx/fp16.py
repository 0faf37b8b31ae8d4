"""Convert a lowered generator to fp16, with latents and images in float32 or fp16."""

from __future__ import annotations

import torch
from torch import fx, nn

from gan_export._lib.escape import python_identifier
from gan_export.errors import GanExportError
from gan_export.graph.torch_code import call_module
from gan_export.graph.torch_layers.basic import Indicator
from gan_export.graph.torch_module import TO_BYTES, ToBytes


def to_fp16(module: fx.GraphModule, *, fp16_io: bool) -> fx.GraphModule:
    """Convert `module` in place: weights and values to fp16, but bytes are computed from float32.

    fp16 is too coarse for them above 128.  Raises GanExportError for a weight above fp16's range.
    """
    for name, weight in module.named_parameters():
        if weight.numel() and weight.isfinite().all() and weight.abs().max() > torch.finfo(torch.float16).max:
            raise GanExportError(f"{name} is too large for fp16 (above 65504); use precision=fp32")
    module.half()
    module.add_submodule("to_fp16", Cast(torch.float16))
    module.add_submodule("to_fp32", Cast(torch.float32))
    for node in list(module.graph.nodes):
        kind = type(module.get_submodule(node.target)) if node.op == "call_module" else None
        if kind is Indicator or (node.op == "placeholder" and node.target == "z" and not fp16_io):
            with module.graph.inserting_after(node):
                cast = call_module(module.graph, python_identifier("to_fp16"), (node,))
            node.replace_all_uses_with(cast)
            cast.args = (node,)
        ends = node.op == "output" and not fp16_io and not _gives_bytes(module, node.args[0])
        if kind is ToBytes or ends:
            with module.graph.inserting_before(node):
                node.args = (call_module(module.graph, python_identifier("to_fp32"), (node.args[0],)),)
    module.recompile()
    return module


class Cast(nn.Module):
    """A conversion to another floating-point type."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(self.dtype)


def _gives_bytes(module: fx.GraphModule, node: object) -> bool:
    return isinstance(node, fx.Node) and node.op == "call_module" and node.target == TO_BYTES
