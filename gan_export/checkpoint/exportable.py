"""What can be exported: a checkpoint whose layers are known, or a module of the user's own; and how each is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from gan_export.checkpoint.checkpoint import Checkpoint, Source
from gan_export.errors import GanExportError
from gan_export.graph.signature import Array, Feeds, Signature

if TYPE_CHECKING:
    from torch import fx, nn

    from gan_export.recognize.options import ReadOptions


class Exportable(Protocol):
    """A generator with its weights."""

    @property
    def arch(self) -> str:
        """The family's name, or the class's of a module of the user's own."""
        ...

    @property
    def signature(self) -> Signature: ...

    @property
    def source(self) -> Source: ...

    @property
    def overrides(self) -> ReadOptions: ...


def known_layers(generator: Exportable, format: str) -> Checkpoint:
    """Return `generator` if its layers are known.  Raises GanExportError that names the format which needs them."""
    if isinstance(generator, Checkpoint):
        return generator
    raise GanExportError(
        f"{format} needs the generator's layers, which of a module of your own ({generator.arch}) are not known; "
        "onnx, torchscript, pt2 and openvino take it"
    )


def lowered_module(generator: Exportable, output: Literal["float", "bytes"]) -> fx.GraphModule:
    """Return the module to export, in evaluation mode: BatchNorm folded if layers are known; images as bytes if asked.

    It takes the signature's inputs by place and gives one tensor, or a tuple in the order of the outputs.
    """
    from gan_export.graph.torch_module import build_module

    if isinstance(generator, Checkpoint):
        from gan_export.graph.fold import fold_batchnorm

        return build_module(*fold_batchnorm(generator.spec, generator.weights), output=output)
    from gan_export.checkpoint import user_module

    return user_module.to_export(_user_module(generator), output)


def eager_module(generator: Exportable) -> nn.Module:
    """Return the generator in float32 on the CPU, as its checkpoint or its class has it."""
    if isinstance(generator, Checkpoint):
        from gan_export.graph.torch_module import build_module

        return build_module(generator.spec, generator.weights)
    module: nn.Module = _user_module(generator).graph
    return module


def exact_module(generator: Exportable) -> nn.Module | None:
    """Return the same in float64; None for a module of the user's own that can't compute in it."""
    if isinstance(generator, Checkpoint):
        return eager_module(generator).double()
    from gan_export.checkpoint import user_module

    return user_module.double(_user_module(generator))


def run_module(module: nn.Module, signature: Signature, feeds: Feeds, *, double: bool = False) -> dict[str, Array]:
    """Return the outputs of a module as `lowered_module` describes it, by name; `double` gives it floats of 64 bits."""
    import torch

    tensors = [torch.from_numpy(np.ascontiguousarray(feeds[p.name])) for p in signature.inputs]
    if double:
        tensors = [t.double() if t.is_floating_point() else t for t in tensors]
    with torch.inference_mode():
        made: Any = module(*tensors)
    arrays: Sequence[Any] = (made,) if isinstance(made, torch.Tensor) else made
    return {port.name: array.numpy() for port, array in zip(signature.outputs, arrays, strict=True)}


def _user_module(generator: Exportable) -> Any:
    from gan_export.checkpoint.user_module import UserModule

    assert isinstance(generator, UserModule)
    return generator
