"""Convert a spec and its weights to a PyTorch module, the reference that every export is compared with.

The module is a torch.fx graph with one submodule per layer.  It can be scripted, traced and exported, and its code
has one line per layer.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import fx, nn

from gan_export._lib.escape import python_identifier
from gan_export.errors import GanExportError
from gan_export.graph.layers import Concat, Layer, Shape
from gan_export.graph.ports import Port
from gan_export.graph.spec import GeneratorSpec, infer_shapes
from gan_export.graph.torch_code import call_module, graph_module, placeholder
from gan_export.graph.torch_layers import BUILDERS

Weights = Mapping[str, npt.NDArray[np.float32]]

TO_BYTES = "to_bytes"  # the submodule that converts to bytes; with several outputs, TO_BYTES_NAME
FROM_BYTES = "from_bytes"  # the submodule that converts from bytes; one per image input, FROM_BYTES_NAME
# Names that no submodule may have: it would hide an attribute of the module or a name in the code of forward.
_TAKEN = frozenset({TO_BYTES, "self", *dir(fx.GraphModule), *vars(nn.Module())})


def build_module(spec: GeneratorSpec, weights: Weights, output: Literal["float", "bytes"] = "float") -> fx.GraphModule:
    """Return the generator as a module in evaluation mode, float32, on the CPU.

    forward takes the signature's inputs by position, and returns one tensor, or a tuple in the order of the outputs.
    A latent (N, nz) may also have the shape (N, nz, 1, 1).  If output is "bytes", images are uint8 with channels last.
    Raises GanExportError if the weights don't fit the spec.
    """
    check_weights(spec, weights)
    shapes, names = infer_shapes(spec), submodule_names(spec)
    with torch.random.fork_rng(devices=[]):  # layers initialize their parameters; the caller's random state stays
        layers: dict[str, nn.Module] = {
            names[layer.name]: _build(layer, tuple(shapes[i] for i in layer.inputs))
            for layer in spec.layers
            if not isinstance(layer, Concat)
        }
    graph = fx.Graph()
    values = {port.name: _input(graph, port) for port in spec.signature.inputs}
    if output == "bytes":
        for port in spec.signature.inputs:
            values[port.name] = take_bytes(layers.__setitem__, graph, port, values[port.name])
    for layer in spec.layers:
        arguments = [values[name] for name in layer.inputs]
        if isinstance(layer, Concat):
            values[layer.name] = graph.call_function(torch.cat, (arguments, 1))
        else:
            values[layer.name] = call_module(graph, python_identifier(names[layer.name]), tuple(arguments))
    results = [values[name] for name in spec.outputs]
    if output == "bytes":
        results = give_bytes(layers.__setitem__, graph, spec.signature.outputs, results)
    graph.output(results[0] if len(results) == 1 else tuple(results))
    module = graph_module(layers, graph)
    # not strict: the weights are checked above, and num_batches_tracked of BatchNorm is not in them
    owned = {f"{layer.name}.{p}": f"{names[layer.name]}.{p}" for layer in spec.layers for p in layer.parameters()}
    module.load_state_dict({owned[k]: torch.from_numpy(np.array(v)) for k, v in weights.items()}, strict=False)
    return module.eval().requires_grad_(False)


def take_bytes(add: Callable[[str, nn.Module], Any], graph: fx.Graph, port: Port, value: fx.Node) -> fx.Node:
    """Append the conversion of bytes to floats for an image port; `add` gets its module.  Other inputs stay."""
    if not port.layout or port.dtype == "uint8":
        return value
    name = python_identifier(f"{FROM_BYTES}_{port.name}")
    add(str(name), FromBytes(port))
    return call_module(graph, name, (value,))


def give_bytes(
    add: Callable[[str, nn.Module], object], graph: fx.Graph, ports: Sequence[Port], values: Sequence[fx.Node]
) -> list[fx.Node]:
    """Append the byte rule to each value whose port is an image of floats; `add` gets its modules."""
    results = []
    for port, value in zip(ports, values, strict=True):
        if port.layout and port.dtype != "uint8":
            name = python_identifier(TO_BYTES if len(ports) == 1 else f"{TO_BYTES}_{port.name}")
            add(str(name), ToBytes(port))
            value = call_module(graph, name, (value,))  # noqa: PLW2901
        results.append(value)
    return results


def _input(graph: fx.Graph, port: Port) -> fx.Node:
    value = placeholder(graph, python_identifier(port.name))
    if port.kind == "latent" and len(port.shape) == 1:
        return graph.call_function(torch.flatten, (value, 1))
    return value


def _build(layer: Layer, inputs: tuple[Shape, ...]) -> nn.Module:
    builder = BUILDERS.get(type(layer))
    if builder is None:
        raise GanExportError(f"no PyTorch layer for {type(layer).__name__}")
    return builder(layer, inputs)


def submodule_names(spec: GeneratorSpec) -> dict[str, str]:
    """Return the name of each layer's submodule by the layer's name.

    The two are equal unless the layer's name is no identifier, or is a name that a module already uses.
    """
    names = {layer.name: layer.name for layer in spec.layers if _is_free(layer.name)}
    used = set(names)
    for layer in spec.layers:
        if layer.name not in names:
            name = "layer_" + re.sub(r"\W", "_", layer.name, flags=re.ASCII)
            while name in used:
                name += "_"
            used.add(name)
            names[layer.name] = name
    return names


def _is_free(name: str) -> bool:
    plain = re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII)
    return plain is not None and not keyword.iskeyword(name) and name not in _TAKEN


def check_weights(spec: GeneratorSpec, weights: Weights) -> None:
    """Raise GanExportError unless `weights` has exactly the spec's parameters, with their shapes."""
    wanted = spec.parameters()
    if missing := [k for k in wanted if k not in weights]:
        raise GanExportError(f"the weights lack {missing[0]}")
    if extra := [k for k in weights if k not in wanted]:
        raise GanExportError(f"the weights hold {extra[0]}, which no layer takes")
    for key, shape in wanted.items():
        if weights[key].shape != shape:
            raise GanExportError(f"{key} is {weights[key].shape}; it must be {shape}")


class FromBytes(nn.Module):
    """A module that converts uint8, channels last, to a port's layout and range: 0 is the lower end, 255 the upper."""

    def __init__(self, port: Port) -> None:
        super().__init__()
        self.low, high = port.range or (-1.0, 1.0)
        self.step = (high - self.low) / 255.0
        last = str(port.layout).replace("C", "") + "C"
        self.order = [0, *(1 + last.index(letter) for letter in str(port.layout))]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(self.order).to(torch.float32) * self.step + self.low


class ToBytes(nn.Module):
    """A module that converts floats in a port's layout and range to uint8, channels last, as `images.levels` does."""

    def __init__(self, port: Port) -> None:
        super().__init__()
        self.low, self.high = port.range or (-1.0, 1.0)
        rest = [1 + i for i, letter in enumerate(str(port.layout)) if letter != "C"]
        self.order = [0, *rest, 1 + port.axis("C")]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if (self.low, self.high) != (-1.0, 1.0):
            x = (x - self.low) * (2.0 / (self.high - self.low)) - 1.0
        return (x * 127.5 + 128.0).floor().clamp(0.0, 255.0).to(torch.uint8).permute(self.order)
