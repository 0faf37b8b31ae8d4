"""Run a generator that can be exported: a checkpoint with known layers, or a module of the user's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from gan_export._lib.memory import release_free_memory
from gan_export.checkpoint.checkpoint import Checkpoint, Source
from gan_export.errors import GanExportError
from gan_export.graph.ports import require_finite
from gan_export.graph.reach import Reach, reach_of
from gan_export.graph.signature import Array, Feeds, Signature
from gan_export.graph.spec import infer_shapes

if TYPE_CHECKING:
    from torch import fx, nn

    from gan_export.recognize.options import Grade, ReadOptions

MOST_AT_ONCE = 1 << 25  # values of the widest layer in one run of a reference module: 256 MiB in float64


class Exportable(Protocol):
    """A generator with its weights."""

    @property
    def arch(self) -> str:
        """The name of the family, or of the class of the user's own module."""
        ...

    @property
    def signature(self) -> Signature: ...

    @property
    def source(self) -> Source: ...

    @property
    def overrides(self) -> ReadOptions: ...

    @property
    def grades(self) -> Mapping[str, Grade]:
        """The grade of each choice that the checkpoint leaves open, by the name of its option."""
        ...


@dataclass(frozen=True, slots=True)
class ExpectedOutputs:
    """The outputs of a batch that an export must reproduce, by name: `exact` in float64, `eager` in float32."""

    exact: Mapping[str, npt.NDArray[np.float64]]
    eager: Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class _Modules:
    """eager: the float32 module; exact: the float64 module, None if the user's own module can't run in float64."""

    eager: nn.Module
    exact: nn.Module | None


@dataclass(frozen=True, slots=True)
class PreparedGenerator:
    """A generator with its reference modules and what they returned, shared by all steps of an export.

    `prepare` makes one.
    """

    generator: Exportable
    _modules: list[_Modules] = field(default_factory=list, repr=False)  # at most one
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

    @property
    def grades(self) -> Mapping[str, Grade]:
        return self.generator.grades

    def run(self, feeds: Feeds) -> ExpectedOutputs:
        """Return the outputs of `feeds` in both precisions; without a float64 module, `exact` is `eager`.

        Raises GanExportError for values that are not finite.
        """
        modules = self._built()
        eager = self._in_pieces(modules.eager, feeds)
        exact = eager if modules.exact is None else self._in_pieces(modules.exact, feeds, double=True)
        for array in (*exact.values(), *eager.values()):
            require_finite(array)
        return ExpectedOutputs({name: array.astype(np.float64) for name, array in exact.items()}, eager)

    def release(self) -> None:
        """Free the memory of the modules, which are built again if they are needed; batches are kept."""
        self._modules.clear()
        release_free_memory()

    def _built(self) -> _Modules:
        if not self._modules:
            self._modules.append(_Modules(_eager_module(self.generator), _exact_module(self.generator)))
        return self._modules[0]

    def _in_pieces(self, module: nn.Module, feeds: Feeds, *, double: bool = False) -> dict[str, Array]:
        """Run a batch in pieces of at most MOST_AT_ONCE values, at least one image each; run a user's module once.

        Known layers compute each image independently of the others; a user's module may not.
        """
        if not isinstance(self.generator, Checkpoint):
            return run_module(module, self.signature, feeds, double=double)
        count = len(next(iter(feeds.values())))
        step = max(1, MOST_AT_ONCE // self.widest(self.signature.sizes_of(feeds)))
        pieces = [
            run_module(module, self.signature, {k: v[i : i + step] for k, v in feeds.items()}, double=double)
            for i in range(0, count, step)
        ]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    def widest(self, sizes: Mapping[str, int] | None = None) -> int:
        """Return the number of values of the widest layer for one image; for a user's module, of its outputs."""
        if isinstance(self.generator, Checkpoint):
            return max(math.prod(shape) for shape in infer_shapes(self.generator.spec, sizes).values())
        return max(math.prod(shape) for shape in self.signature.output_shapes(1, sizes).values())

    @property
    def reach(self) -> Reach | None:
        """Return how far the generator sees into its image; None if it takes none, or is a module of the user's own."""
        return reach_of(self.generator.spec) if isinstance(self.generator, Checkpoint) else None

    def batch(self, seed: int, indices: range, sizes: Mapping[str, int] | None = None) -> tuple[Feeds, ExpectedOutputs]:
        """Return the inputs and outputs of the images `indices` of `seed`; repeated calls return the stored result."""
        sizes = self.signature.usual_sizes() if sizes is None else sizes
        key = (seed, indices, *sorted(sizes.items()))
        if key not in self._kept:
            feeds = self.signature.feeds(seed, indices, sizes=sizes)
            self._kept[key] = feeds, self.run(feeds)
        return self._kept[key]


def prepare(generator: Exportable) -> PreparedGenerator:
    """Return the generator with room for its references; a prepared generator is returned unchanged."""
    return generator if isinstance(generator, PreparedGenerator) else PreparedGenerator(generator)


def known_layers(generator: Exportable, format: str) -> Checkpoint:
    """Return `generator` as a checkpoint with its layers.

    Raises GanExportError, with the format's name, for a module of the user's own.
    """
    generator = unprepared(generator)
    if isinstance(generator, Checkpoint):
        return generator
    raise GanExportError(
        f"{format} needs the generator's layers, and those of a module of your own ({generator.arch}) are unknown; "
        "export it to onnx, torchscript, pt2 or openvino"
    )


def lowered_module(generator: Exportable, output: Literal["float", "bytes"]) -> fx.GraphModule:
    """Return the module to export, in evaluation mode; a checkpoint is lowered (`graph.lower`), a user's module isn't.

    output: "bytes" for images as uint8.  The module takes the signature's inputs as positional arguments, and returns
    one tensor, or a tuple in the order of the outputs.
    """
    from gan_export.graph.torch_module import build_module

    generator = unprepared(generator)
    if isinstance(generator, Checkpoint):
        from gan_export.graph.lower import lower

        return build_module(*lower(generator.spec, generator.weights), output=output)
    from gan_export.checkpoint import user_module

    return user_module.to_export(_user_module(generator), output)


def run_module(module: nn.Module, signature: Signature, feeds: Feeds, *, double: bool = False) -> dict[str, Array]:
    """Return the outputs of a module as `lowered_module` returns it, by name; `double` passes inputs as float64."""
    import torch

    tensors = [torch.from_numpy(np.ascontiguousarray(feeds[p.name])) for p in signature.inputs]
    if double:
        tensors = [t.double() if t.is_floating_point() else t for t in tensors]
    with torch.inference_mode():
        made: Any = module(*tensors)
    arrays: Sequence[Any] = (made,) if isinstance(made, torch.Tensor) else made
    return {port.name: array.numpy() for port, array in zip(signature.outputs, arrays, strict=True)}


def _eager_module(generator: Exportable) -> nn.Module:
    """Return the generator in float32 on the CPU, with the layers of its checkpoint or its class."""
    if isinstance(generator, Checkpoint):
        from gan_export.graph.torch_module import build_module

        return build_module(generator.spec, generator.weights)
    module: nn.Module = _user_module(generator).graph
    return module


def _exact_module(generator: Exportable) -> nn.Module | None:
    """Return the generator in float64, or None for a user's module that can't compute in float64."""
    if isinstance(generator, Checkpoint):
        from gan_export.graph.exact import bound_memory

        return bound_memory(_eager_module(generator).double())
    from gan_export.checkpoint import user_module

    return user_module.double(_user_module(generator))


def unprepared(generator: Exportable) -> Exportable:
    """Return what a prepared generator was made of, or the generator itself."""
    return generator.generator if isinstance(generator, PreparedGenerator) else generator


def _user_module(generator: Exportable) -> Any:
    from gan_export.checkpoint.user_module import UserModule

    assert isinstance(generator, UserModule)
    return generator
