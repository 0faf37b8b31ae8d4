"""A spec and its weights as a PyTorch module: the reference that every export is held to.

The module is a torch.fx graph with one submodule a layer, so that it scripts, traces and exports, and its
code reads like the layer list.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import fx, nn
from torch.nn import functional as F

from gan_export.errors import GanExportError
from gan_export.graph import layers as la
from gan_export.graph.spec import GeneratorSpec, infer_shapes

Weights = Mapping[str, npt.NDArray[np.float32]]

TO_BYTES = "to_bytes"  # the submodule that makes bytes
# What a submodule can't be called: it would hide what the module, or the code of its forward, is made of.
_TAKEN = frozenset({TO_BYTES, "self", *dir(fx.GraphModule), *vars(nn.Module())})


def build_module(spec: GeneratorSpec, weights: Weights, output: Literal["float", "bytes"] = "float") -> fx.GraphModule:
    """The generator in evaluation mode, float32, on the CPU.

    forward(z) or, with labels, forward(z, label): z float32 (N, nz) or (N, nz, 1, 1), label int64 (N,);
    gives (N, C, H, W), or uint8 (N, H, W, C) by the byte rule where output is "bytes".
    Raises GanExportError where the weights don't fit the spec.
    """
    check_weights(spec, weights)
    shapes, names = infer_shapes(spec), submodule_names(spec)
    with torch.random.fork_rng(devices=[]):  # torch initialises what is loaded next; the caller's draws stay theirs
        layers: dict[str, nn.Module] = {
            names[layer.name]: _to_layer(layer, len(shapes[layer.name]))
            for layer in spec.layers
            if not isinstance(layer, la.Concat)
        }
    graph = fx.Graph()
    values = {"z": graph.call_function(torch.flatten, (graph.placeholder("z", type_expr=torch.Tensor), 1))}
    if spec.classes:
        values["label"] = graph.placeholder("label", type_expr=torch.Tensor)
    for layer in spec.layers:
        arguments = [values[name] for name in layer.inputs]
        if isinstance(layer, la.Concat):
            values[layer.name] = graph.call_function(torch.cat, (arguments, 1))
        else:
            values[layer.name] = graph.call_module(names[layer.name], tuple(arguments))
    result = values[spec.output]
    if output == "bytes":
        layers[TO_BYTES] = ToBytes(None if spec.range == (-1.0, 1.0) else spec.range)
        result = graph.call_module(TO_BYTES, (result,))
    graph.output(result)
    module = fx.GraphModule(layers, graph, class_name="Generator")
    # not strict: the weights are checked above, and BatchNorm's step counter has no use here
    owned = {
        f"{layer.name}.{p}": f"{names[layer.name]}.{p}" for layer in spec.layers for p in la.layer_parameters(layer)
    }
    module.load_state_dict({owned[k]: torch.from_numpy(np.array(v)) for k, v in weights.items()}, strict=False)
    return module.eval().requires_grad_(False)


def submodule_names(spec: GeneratorSpec) -> dict[str, str]:
    """What `to_module` calls each layer's submodule: the layer's own name, unless Python or a module can't have it."""
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
    """Raises GanExportError unless `weights` holds exactly the spec's parameters in their shapes."""
    wanted = spec.parameters()
    if missing := [k for k in wanted if k not in weights]:
        raise GanExportError(f"the weights lack {missing[0]}")
    if extra := [k for k in weights if k not in wanted]:
        raise GanExportError(f"the weights hold {extra[0]}, which no layer takes")
    for key, shape in wanted.items():
        if weights[key].shape != shape:
            raise GanExportError(f"{key} is {weights[key].shape}, {shape} is needed")


class ChannelAffine(nn.Module):
    """x × weight + bias, a channel of (N, C) or (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dim() == 4:
            return x * self.weight[:, None, None] + self.bias[:, None, None]
        return x * self.weight + self.bias


class View(nn.Module):
    """The values of each picture as another shape, the batch kept."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = list(shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape([x.size(0)] + self.shape)  # noqa: RUF005  TorchScript has no unpacking in a list


class Bilinear(nn.Module):
    """Upsampling by an integer factor at half-pixel centres."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = float(factor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=self.factor, mode="bilinear", align_corners=False)


class Cropped(nn.Module):
    """A window of (N, C, H, W)."""

    def __init__(self, top: int, left: int, height: int, width: int) -> None:
        super().__init__()
        self.top, self.left, self.bottom, self.right = top, left, top + height, left + width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, self.top : self.bottom, self.left : self.right]


class Scaled(nn.Module):
    """x × factor + offset."""

    def __init__(self, factor: float, offset: float) -> None:
        super().__init__()
        self.factor, self.offset = factor, offset

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor + self.offset


class Sum(nn.Module):
    """The sum of two tensors."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a + b


class Product(nn.Module):
    """The elementwise product of two tensors."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a * b


class Indicator(nn.Module):
    """label (N,) to one-hot float32 (N, classes)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, label: torch.Tensor) -> torch.Tensor:
        columns = torch.arange(self.classes, device=label.device)
        return (label[:, None] == columns).to(torch.float32)


class ToBytes(nn.Module):
    """The byte rule of `images.to_bytes`: (N, C, H, W) in `span`, [-1, 1] for None, to uint8 (N, H, W, C)."""

    def __init__(self, span: tuple[float, float] | None) -> None:
        super().__init__()
        self.span = span

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.span is not None:
            low, high = self.span
            x = (x - low) * (2.0 / (high - low)) - 1.0
        return (x * 127.5 + 128.0).floor().clamp(0.0, 255.0).to(torch.uint8).permute(0, 2, 3, 1)


def _to_layer(layer: la.Layer, rank: int) -> nn.Module:
    """`rank`: of one picture's value that the layer gives."""
    match layer:
        case la.Linear(in_features=i, out_features=o, bias=b):
            return nn.Linear(i, o, bias=b)
        case la.ConvTranspose(in_channels=i, out_channels=o, kernel=k, stride=st, padding=p):
            extra, bias = layer.output_padding, layer.bias
            return nn.ConvTranspose2d(i, o, k, st, p, output_padding=extra, bias=bias)
        case la.Conv(in_channels=i, out_channels=o, kernel=k, stride=st, padding=p, bias=b):
            return nn.Conv2d(i, o, k, st, p, bias=b)
        case la.BatchNorm(channels=c, eps=eps, affine=affine):
            return (nn.BatchNorm2d if rank == 3 else nn.BatchNorm1d)(c, eps, affine=affine)
        case la.Affine(channels=c):
            return ChannelAffine(c)
        case la.Activation(kind="relu"):
            return nn.ReLU()
        case la.Activation(kind="leaky_relu", slope=slope):
            return nn.LeakyReLU(slope)
        case la.Activation(kind="tanh"):
            return nn.Tanh()
        case la.Activation(kind="sigmoid"):
            return nn.Sigmoid()
        case la.Upsample(factor=times, mode="nearest"):
            return nn.Upsample(scale_factor=float(times), mode="nearest")
        case la.Upsample(factor=times):
            return Bilinear(times)
        case la.Add():
            return Sum()
        case la.Multiply():
            return Product()
        case la.Reshape(shape=shape):
            return View(shape)
        case la.Crop(top=t, left=le, height=h, width=w):
            return Cropped(t, le, h, w)
        case la.Scale(factor=factor, offset=offset):
            return Scaled(factor, offset)
        case la.Embedding(classes=n, dim=d):
            return nn.Embedding(n, d)
        case la.OneHot(classes=n):
            return Indicator(n)
    raise GanExportError(f"no PyTorch layer for {type(layer).__name__}")
