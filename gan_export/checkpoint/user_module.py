"""Read a module of the user's own as a generator: its signature is known, its layers are not.

The user's code is imported because the user names it.  The weights are read as data (`checkpoint.state_dict`), and
their keys must be exactly those of the class.  Formats that need layers (native, C, safetensors) and inspect refuse
such a module.  The other formats export the module itself, and the export is compared with it.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import importlib
import inspect
import operator
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import fx, nn

from gan_export._lib.escape import is_class_name, python_identifier
from gan_export.checkpoint.checkpoint import Source
from gan_export.checkpoint.state_dict import read_state_dict
from gan_export.errors import GanExportError, Topic, first_line, last_line, linked, printable
from gan_export.graph.ports import Normal, Port
from gan_export.graph.signature import Signature
from gan_export.graph.torch_code import call_module, graph_module, placeholder
from gan_export.graph.torch_module import give_bytes, take_bytes
from gan_export.recognize.options import Grade, ReadOptions

_INNER = "generator"  # the submodule that the user's module is
_LONGEST = 4096  # largest latent size that is tried
_LIKELY = (100, 128, 512, 64, 256, 32, 16, 10, 2)
_TRIED = 4  # images that are run to find a signature


@dataclass(frozen=True, slots=True)
class UserModule:
    """A module ready to export.

    graph:     takes the signature's inputs in order, by their names; returns one tensor, or a tuple in the order of
               the outputs; float32, evaluation mode, on the CPU
    signature: of `graph`; source: of its weights; arch: the class's name
    assumed:   the facts that the user didn't state and that were found by running the module, one line each
    overrides, grades: empty, since the options of recognition have no meaning here
    """

    graph: fx.GraphModule
    signature: Signature
    source: Source
    arch: str
    assumed: tuple[str, ...] = ()
    overrides: ReadOptions = field(default_factory=ReadOptions)
    grades: Mapping[str, Grade] = field(default_factory=dict)


@linked(Topic.MODULES)
def from_module(module: nn.Module, signature: Signature | None = None) -> UserModule:
    """Return a module of the user's own as a generator: a copy on the CPU, in evaluation mode and float32.

    signature: if None, one latent z and one output; z's length and the output's shape are found by running the module.
    Raises GanExportError for a module whose inputs or outputs are not those of the signature.
    """
    name = _named(module)
    with torch.random.fork_rng(devices=[]):
        copied = _copied(module, name)
    return _prepared(copied, signature, Source(name, _digest(copied), "a module in memory"), name)


@linked(Topic.MODULES)
def from_class(
    path: Path,
    target: str,
    *,
    kwargs: Mapping[str, Any] | None = None,
    search: Iterable[Path] = (),
    key: str | None = None,
    signature: Signature | None = None,
) -> UserModule:
    """Import the class that `target` ("pkg.mod:Class") names, build it, and load the weights in `path` strictly.

    search: folders that come first on Python's path while the class is imported and built.
    Raises GanExportError if the class can't be imported or built, and if its keys differ from the file's.
    """
    cls = import_class(target, search)
    with _first_on_path(search), torch.random.fork_rng(devices=[]):
        try:
            module = cls(**(kwargs or {}))
        except Exception as e:
            given = ", ".join(f"{k}={v!r}" for k, v in (kwargs or {}).items())
            made = printable(f"{target}({given})")
            raise GanExportError(f"{made} can't be made: {type(e).__name__}: {first_line(e)}; see kwargs=") from e
    if not isinstance(module, nn.Module):
        raise GanExportError(f"{printable(target)} returns {type(module).__name__}, not a torch.nn.Module")
    own = module.state_dict()
    wanted = {k: (tuple(v.shape), v.is_floating_point()) for k, v in own.items()}
    arrays, source = read_state_dict(path, wanted, key)
    module.load_state_dict({k: torch.from_numpy(a).to(own[k].dtype) for k, a in arrays.items()}, strict=False)
    with _first_on_path(search):  # forward may import, too
        return _prepared(_quiet(module), signature, source, _named(module))


def _named(module: nn.Module) -> str:
    """Return the name of the module's class.  Raises GanExportError if a manifest can't store it."""
    name = type(module).__name__
    if not is_class_name(name):
        raise GanExportError(f"class {printable(name)}: an export stores it; it must be 1 to 64 ASCII characters")
    return name


def import_class(target: str, search: Iterable[Path] = ()) -> Any:
    """Return the object of "pkg.mod:Class".  Raises GanExportError if there is none."""
    module_name, colon, class_name = target.partition(":")
    if not colon or not module_name or not class_name:
        raise GanExportError(f"module={printable(target)}: name it as package.module:Class")
    with _first_on_path(search):
        try:
            found: Any = importlib.import_module(module_name)
        except Exception as e:
            why = f"{type(e).__name__}: {first_line(e)}"
            raise GanExportError(
                f"{printable(module_name)} can't be imported: {why}; name its folder with pythonpath="
            ) from e
    for part in class_name.split("."):
        if not hasattr(found, part):
            raise GanExportError(f"{printable(module_name)} has no {printable(class_name)}")
        found = getattr(found, part)
    return found


def double(user: UserModule) -> fx.GraphModule | None:
    """Return a copy of the graph that computes in float64, None if the module can't."""
    graph = copy.deepcopy(user.graph).double()
    try:
        _run(graph, _tensors(user.signature, 1, torch.float64))
    except Exception:  # the user's code may have a float32 constant
        return None
    return graph


def to_export(user: UserModule, output: Literal["float", "bytes"]) -> fx.GraphModule:
    """Return a copy of the graph; if `output` is "bytes", its image inputs and outputs are uint8, channels last."""
    graph = copy.deepcopy(user.graph)
    if output == "bytes":
        end = next(node for node in graph.graph.nodes if node.op == "output")
        made = end.args[0] if isinstance(end.args[0], tuple) else (end.args[0],)
        with graph.graph.inserting_before(end):
            results = give_bytes(graph.add_submodule, graph.graph, user.signature.outputs, made)
        taken = [node for node in graph.graph.nodes if node.op == "placeholder"]
        after = taken[-1]
        for port, node in zip(user.signature.inputs, taken, strict=True):
            with graph.graph.inserting_after(after):
                value = take_bytes(graph.add_submodule, graph.graph, port, node)
            if value is not node:
                node.replace_all_uses_with(value, delete_user_cb=lambda user, kept=value: user is not kept)
                after = value
        end.args = (results[0] if len(results) == 1 else tuple(results),)
        graph.recompile()
    return graph


@contextlib.contextmanager
def _first_on_path(folders: Iterable[Path]) -> Iterator[None]:
    """Put folders first on Python's path within the block."""
    added = [str(Path(f).resolve()) for f in folders]
    sys.path[:0] = added
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for folder in added:
            if folder in sys.path:
                sys.path.remove(folder)


def _prepared(module: nn.Module, signature: Signature | None, source: Source, name: str) -> UserModule:
    assumed: tuple[str, ...] = ()
    if signature is None:
        signature, assumed = _found_by_trying(module, name)
    outputs = _outputs_of(module, signature, name)
    return UserModule(_as_graph(module, signature, outputs), signature, source, name, assumed)


def _copied(module: nn.Module, name: str) -> nn.Module:
    try:
        return _quiet(copy.deepcopy(module).cpu())
    except Exception as e:
        raise GanExportError(f"{name} can't be copied: {type(e).__name__}: {first_line(e)}") from e


def _quiet(module: nn.Module) -> nn.Module:
    return module.float().eval().requires_grad_(False)


def _digest(module: nn.Module) -> str:
    """Return the sha256 of the class's name and the state dict: each key, type, shape and bytes, in order."""
    digest = hashlib.sha256(type(module).__name__.encode())
    for key, value in module.state_dict().items():
        array = value.detach().contiguous().numpy()
        digest.update(f"\n{key} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


# -- inputs and outputs of forward


def _arguments(module: nn.Module, signature: Signature, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of forward's positional inputs, and of its keyword inputs."""
    ports = [p.name for p in signature.inputs]
    P = inspect.Parameter
    parameters = list(inspect.signature(module.forward).parameters.values())
    named = {p.name for p in parameters if p.kind in (P.POSITIONAL_OR_KEYWORD, P.KEYWORD_ONLY)}
    if all(n in named for n in ports) or any(p.kind is P.VAR_KEYWORD for p in parameters):
        return (), tuple(ports)
    placed = [p for p in parameters if p.kind in (P.POSITIONAL_ONLY, P.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in parameters if p.kind is P.KEYWORD_ONLY and p.default is P.empty]
    open_ended = any(p.kind is P.VAR_POSITIONAL for p in parameters)
    if needed or (len(placed) < len(ports) and not open_ended):
        takes = ", ".join(p.name for p in parameters) or "nothing"
        raise GanExportError(f"{name}.forward takes {takes}; the signature's inputs are {', '.join(ports)}")
    return tuple(ports), ()


def _outputs_of(module: nn.Module, signature: Signature, name: str) -> tuple[str | int | None, ...]:
    """Return how to get each output from forward's result: a key, an index, or None for the result itself.

    Raises GanExportError unless one call returns the signature's outputs, with their shapes and types.
    """
    made = _call(module, signature, _tensors(signature, 2, torch.float32), name)
    wanted = [p.name for p in signature.outputs]
    picks: tuple[str | int | None, ...]
    if isinstance(made, Mapping):
        if absent := [n for n in wanted if n not in made]:
            gives = ", ".join(map(str, made))
            raise GanExportError(f"{name} returns {printable(gives)}, without the signature's output {absent[0]}")
        picks = tuple(wanted)
    elif isinstance(made, tuple | list):
        if len(made) < len(wanted):
            raise GanExportError(f"{name} returns {len(made)} arrays, the signature states {len(wanted)} outputs")
        picks = tuple(range(len(wanted)))
    else:
        if len(wanted) != 1:
            raise GanExportError(f"{name} returns one array, the signature states {len(wanted)} outputs")
        picks = (None,)
    shapes = signature.output_shapes(2)
    again = _call(module, signature, _tensors(signature, 2, torch.float32), name)
    for port, pick in zip(signature.outputs, picks, strict=True):
        value, same = (made, again) if pick is None else (made[pick], again[pick])
        if not isinstance(value, torch.Tensor):
            raise GanExportError(f"{name}: {port.name} is {type(value).__name__}, not a tensor")
        if tuple(value.shape) != shapes[port.name] or str(value.dtype) != f"torch.{port.dtype}":
            got = f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
            raise GanExportError(
                f"{name} returns {port.name} as {got}, the signature states {port.dtype} {shapes[port.name]}"
            )
        if not torch.equal(value.nan_to_num(), same.nan_to_num()):
            raise GanExportError(
                f"{name} returns another {port.name} in each call: its forward uses random numbers; make them an input"
            )
    return picks


def _call(module: nn.Module, signature: Signature, tensors: Mapping[str, torch.Tensor], name: str) -> Any:
    placed, named = _arguments(module, signature, name)
    try:
        with torch.inference_mode():
            return module(*[tensors[n] for n in placed], **{n: tensors[n] for n in named})
    except Exception as e:
        shapes = ", ".join(f"{n} {tuple(t.shape)}" for n, t in tensors.items())
        raise GanExportError(f"{name} can't run on {shapes}: {type(e).__name__}: {last_line(e)}") from e


def _run(graph: nn.Module, tensors: Mapping[str, torch.Tensor]) -> Any:
    with torch.inference_mode():
        return graph(*tensors.values())


def _tensors(signature: Signature, count: int, floats: torch.dtype) -> dict[str, torch.Tensor]:
    feeds = signature.feeds(0, range(count))
    tensors = {name: torch.from_numpy(array) for name, array in feeds.items()}
    return {name: t.to(floats) if t.is_floating_point() else t for name, t in tensors.items()}


def _as_graph(module: nn.Module, signature: Signature, picks: Sequence[str | int | None]) -> fx.GraphModule:
    """Return the module with a forward whose positional arguments and results are the ports, by name."""
    placed, named = _arguments(module, signature, type(module).__name__)
    graph = fx.Graph()
    values = {p.name: placeholder(graph, python_identifier(p.name)) for p in signature.inputs}
    by_name = {python_identifier(n): values[n] for n in named}
    made = call_module(graph, python_identifier(_INNER), tuple(values[n] for n in placed), by_name)
    results = [made if pick is None else graph.call_function(operator.getitem, (made, pick)) for pick in picks]
    graph.output(results[0] if len(results) == 1 else tuple(results))
    return graph_module({_INNER: module}, graph).eval()


# -- a signature found by running the module


def _found_by_trying(module: nn.Module, name: str) -> tuple[Signature, tuple[str, ...]]:
    """Return a signature of one latent z, of a length that forward takes, and one output of forward's shape."""
    for size in _latent_sizes(module):
        for shape in ((size,), (size, 1, 1)):
            z = Port("z", "latent", shape, prior=Normal())
            guess = Signature((z,), (Port("image", "values", (1,)),))
            try:
                made = _call(module, guess, _tensors(guess, _TRIED, torch.float32), name)
            except GanExportError:
                continue
            if isinstance(made, torch.Tensor) and made.ndim > 1 and len(made) == _TRIED:
                return _signature_of(z, made)
    raise GanExportError(
        f"{name}: it returns one array for no latent of 1 to {_LONGEST} values; state its inputs by a signature"
    )


def _latent_sizes(module: nn.Module) -> Iterable[int]:
    """Return the input sizes of the first weights, then usual sizes, then all others."""
    dims: list[int] = []
    for value in list(module.parameters())[:4]:
        dims += list(value.shape)
    own = [v for v in vars(module).values() if type(v) is int]
    return dict.fromkeys(n for n in (*dims, *own, *_LIKELY, *range(1, _LONGEST + 1)) if 1 <= n <= _LONGEST)


def _signature_of(z: Port, made: torch.Tensor) -> tuple[Signature, tuple[str, ...]]:
    shape = tuple(made.shape[1:])
    values = made.float().numpy()
    bounded = bool(np.isfinite(values).all() and np.abs(values).max() <= 1.0)
    image = len(shape) == 3 and shape[0] <= 4
    span = (-1.0, 1.0) if bounded else None
    output = Port("image", "image" if image else "values", shape, range=span)
    what = f"z: {' x '.join(map(str, z.shape))} values of N(0, 1), found by running the module"
    held = "in [-1, 1]" if bounded else "of unknown range"
    return Signature((z,), (output,)), (what, f"image: {' x '.join(map(str, shape))} values {held}, by one run")
