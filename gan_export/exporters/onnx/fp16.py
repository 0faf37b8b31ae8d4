"""Convert a generator to fp16, with latents and images in float32 or fp16."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import fx, nn

from gan_export._lib.escape import python_identifier
from gan_export.checkpoint import Checkpoint
from gan_export.errors import GanExportError
from gan_export.graph.layers import Conv, ConvTranspose, Demodulate, GroupedConv, ScaleChannels
from gan_export.graph.spec import GeneratorSpec
from gan_export.graph.torch_code import call_module
from gan_export.graph.torch_layers.basic import Indicator
from gan_export.graph.torch_module import TO_BYTES, ToBytes


def within_range(checkpoint: Checkpoint) -> Checkpoint:
    """Return the same generator with demodulated convolutions scaled, so that fp16 holds their sums.

    conv(x, W) × rsqrt(s² @ Q.T + eps) is the same with W / c, Q / c² and eps / c².  c is a power of two near the norm
    of an output channel's weight, so that both sums are of the size of what goes in.  Otherwise they grow with the
    number of channels: for large styles the sum of squares passes fp16's 65504 and is infinite, and the channel zero.
    """
    spec, weights = checkpoint.spec, dict(checkpoint.weights)
    layers = {layer.name: layer for layer in spec.layers}
    for demodulation, conv in _demodulated(spec):
        over = 1 if isinstance(conv, ConvTranspose) else 0  # the axis of the output channels
        weight = weights[f"{conv.name}.weight"].astype(np.float64)
        norm = float(np.sqrt(np.square(weight).sum() / weight.shape[over]))
        if not 0 < norm < math.inf:
            continue
        scale = 2.0 ** round(math.log2(norm))
        weights[f"{conv.name}.weight"] = _float32(weight / scale)
        squares = weights[f"{demodulation.name}.weight"].astype(np.float64)
        weights[f"{demodulation.name}.weight"] = _float32(squares / scale**2)
        layers[demodulation.name] = replace(demodulation, eps=demodulation.eps / scale**2)
    reading = replace(checkpoint.reading, spec=replace(spec, layers=tuple(layers.values())))
    return replace(checkpoint, reading=reading, weights=weights)


def _demodulated(spec: GeneratorSpec) -> list[tuple[Demodulate, Conv | ConvTranspose]]:
    """Return each demodulation with the convolution that it alone scales, perhaps after a filter per channel."""
    layers = {layer.name: layer for layer in spec.layers}
    readers = Counter(name for layer in spec.layers for name in layer.inputs)
    found = []
    for scaled in spec.layers:
        if not isinstance(scaled, ScaleChannels):
            continue
        made, factors = (layers.get(name) for name in scaled.inputs)
        if isinstance(made, GroupedConv) and not made.bias and readers[made.name] == 1:
            made = layers.get(made.inputs[0])
        if not isinstance(factors, Demodulate) or not isinstance(made, Conv | ConvTranspose) or made.bias:
            continue
        if readers[factors.name] == readers[made.name] == 1:
            found.append((factors, made))
    return found


def _float32(array: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    return array.astype(np.float32)


def to_fp16(module: fx.GraphModule, floats: Collection[str], *, fp16_io: bool) -> fx.GraphModule:
    """Convert `module` in place: weights and values to fp16, but bytes are computed from float32.

    fp16 is too coarse for them above 128.  floats: the inputs of type float32; with fp16_io, z is in fp16.
    Raises GanExportError for a weight above fp16's range.
    """
    casts = set(floats) - ({"z"} if fp16_io else set())
    for name, weight in module.named_parameters():
        if weight.numel() and weight.isfinite().all() and weight.abs().max() > torch.finfo(torch.float16).max:
            raise GanExportError(f"{name} is too large for fp16 (above 65504); use precision=fp32")
    module.half()
    module.add_submodule("to_fp16", Cast(torch.float16))
    module.add_submodule("to_fp32", Cast(torch.float32))
    for node in list(module.graph.nodes):
        kind = type(module.get_submodule(node.target)) if node.op == "call_module" else None
        if kind is Indicator or (node.op == "placeholder" and node.target in casts):
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
