"""What can be exported: a checkpoint whose layers are known, or a module of the user's own; and how each is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from gan_export.checkpoint.checkpoint import Checkpoint, Source
from gan_export.errors import GanExportError
from gan_export.graph.ports import require_finite
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


@dataclass(frozen=True, slots=True)
class ExpectedOutputs:
    """The outputs that an export must reproduce for a batch, by name: `exact` in float64, `eager` in float32."""

    exact: Mapping[str, npt.NDArray[np.float64]]
    eager: Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class PreparedGenerator:
    """A generator with its eager modules, shared by all steps of an export; `prepare` builds one.

    eager: the float32 module; exact: the float64 module, None if the user's own module can't run in float64
    """

    generator: Exportable
    eager: nn.Module
    exact: nn.Module | None
    _kept: dict[tuple[Any, ...], tuple[Feeds, ExpectedOutputs]] = field(default_factory=dict, repr=False)

    @property
    def arch(self) -> str:
        return self.generator.arch

    @property
    def signature(self) -> Signature:
        return self.generator.signature

    @property
    def source(self) -> Source:
        return self.generator.source

    @property
    def overrides(self) -> ReadOptions:
        return self.generator.overrides

    def run(self, feeds: Feeds) -> ExpectedOutputs:
        """Return the outputs of `feeds` in both precisions; without a float64 module, `exact` is `eager`.

        Raises GanExportError for values that are not finite.
        """
        eager = run_module(self.eager, self.signature, feeds)
        exact = eager if self.exact is None else run_module(self.exact, self.signature, feeds, double=True)
        for array in (*exact.values(), *eager.values()):
            require_finite(array)
        return ExpectedOutputs({name: array.astype(np.float64) for name, array in exact.items()}, eager)

    def batch(self, seed: int, indices: range, sizes: Mapping[str, int] | None = None) -> tuple[Feeds, ExpectedOutputs]:
        """Return the inputs and outputs of the images `indices` of `seed`; repeated calls return the stored result."""
        sizes = self.signature.usual_sizes() if sizes is None else sizes
        key = (seed, indices, *sorted(sizes.items()))
        if key not in self._kept:
            feeds = self.signature.feeds(seed, indices, sizes=sizes)
            self._kept[key] = feeds, self.run(feeds)
        return self._kept[key]


def prepare(generator: Exportable) -> PreparedGenerator:
    """Build the generator's eager modules; a prepared generator is returned unchanged."""
    if isinstance(generator, PreparedGenerator):
        return generator
    return PreparedGenerator(generator, _eager_module(generator), _exact_module(generator))


def known_layers(generator: Exportable, format: str) -> Checkpoint:
    """Return `generator` as a checkpoint if its layers are known.

    Raises GanExportError that names the format which needs them.
    """
    generator = _unprepared(generator)
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

    generator = _unprepared(generator)
    if isinstance(generator, Checkpoint):
        from gan_export.graph.fold import fold_batchnorm

        return build_module(*fold_batchnorm(generator.spec, generator.weights), output=output)
    from gan_export.checkpoint import user_module

    return user_module.to_export(_user_module(generator), output)


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


def _eager_module(generator: Exportable) -> nn.Module:
    """Return the generator in float32 on the CPU, as its checkpoint or its class has it."""
    if isinstance(generator, Checkpoint):
        from gan_export.graph.torch_module import build_module

        return build_module(generator.spec, generator.weights)
    module: nn.Module = _user_module(generator).graph
    return module


def _exact_module(generator: Exportable) -> nn.Module | None:
    """Return the same in float64; None for a module of the user's own that can't compute in it."""
    if isinstance(generator, Checkpoint):
        return _eager_module(generator).double()
    from gan_export.checkpoint import user_module

    return user_module.double(_user_module(generator))


def _unprepared(generator: Exportable) -> Exportable:
    return generator.generator if isinstance(generator, PreparedGenerator) else generator


def _user_module(generator: Exportable) -> Any:
    from gan_export.checkpoint.user_module import UserModule

    assert isinstance(generator, UserModule)
    return generator
