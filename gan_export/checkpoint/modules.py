"""A pickled nn.Module (`torch.save(model)`) as a state dict, without its class.

A module's record holds `_parameters`, `_buffers` and `_modules`: all that `state_dict()` would have given.  It
also holds what a state dict leaves out: a BatchNorm's eps, a LeakyReLU's slope, the last activation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from gan_export.checkpoint.values import Record, Tensor, as_tensor

MAX_DEPTH = 32
MAX_MODULES = 20_000


@dataclass(slots=True)
class Recovered:
    """A module's tensors by key, and its settings where all its layers of a kind agree."""

    record: Record
    tensors: dict[str, Tensor] = field(default_factory=dict)
    eps: set[float] = field(default_factory=set)
    slopes: set[float] = field(default_factory=set)  # LeakyReLU's; 0 of a ReLU
    upsampling: set[str] = field(default_factory=set)
    last: Literal["tanh", "sigmoid", "other"] = "other"  # the last module without children


def is_module(value: object) -> bool:
    """Whether a record is a pickled nn.Module: by what it holds, since its class can be anyone's."""
    if not isinstance(value, Record):
        return False
    state = value.attributes()
    return isinstance(state.get("_modules"), dict) and isinstance(state.get("_parameters"), dict)


def recover(module: Record) -> Recovered:
    """What `module.state_dict()` would hold, in its order."""
    found = Recovered(module)
    for prefix, record in _walk(module):
        state = record.attributes()
        hidden = state.get("_non_persistent_buffers_set")
        elements = hidden.elements if isinstance(hidden, Record) else hidden
        skip = {e for e in elements if isinstance(e, str)} if isinstance(elements, list) else set()
        for kind in ("_parameters", "_buffers"):
            table = state.get(kind)
            for name, value in table.items() if isinstance(table, dict) else ():
                tensor = as_tensor(value)
                if isinstance(name, str) and tensor is not None and not (kind == "_buffers" and name in skip):
                    found.tensors[prefix + name] = tensor
        _note_settings(record, state, found)
    return found


def submodule(module: Record, path: str) -> Record | None:
    """`module.get_submodule(path)`, as far as the file has it."""
    for name in path.split(".")[:MAX_DEPTH]:
        children = module.attributes().get("_modules")
        child = children.get(name) if isinstance(children, dict) else None
        if not isinstance(child, Record):
            return None
        module = child
    return module


def _walk(module: Record) -> Iterator[tuple[str, Record]]:
    """(prefix, record), parents before children, in the order of `_modules`; a cycle ends at a bound."""
    waiting: list[tuple[str, Record, int]] = [("", module, 0)]
    for _ in range(MAX_MODULES):
        if not waiting:
            return
        prefix, record, depth = waiting.pop()
        yield prefix, record
        children = record.attributes().get("_modules")
        if not isinstance(children, dict) or depth >= MAX_DEPTH:
            continue
        inner = [(n, c) for n, c in children.items() if isinstance(n, str) and isinstance(c, Record) and len(n) < 1000]
        waiting.extend((f"{prefix}{n}.", c, depth + 1) for n, c in reversed(inner))


def _note_settings(record: Record, state: dict[object, object], found: Recovered) -> None:
    kind, module = record.name.qualname, record.name.module
    if not module.startswith("torch.nn."):
        return
    if kind.startswith("BatchNorm") and isinstance(eps := state.get("eps"), float):
        found.eps.add(eps)
    elif kind == "ReLU":
        found.slopes.add(0.0)
    elif kind == "LeakyReLU" and isinstance(slope := state.get("negative_slope"), float):
        found.slopes.add(slope)
    elif kind.startswith("Upsampl") and isinstance(mode := state.get("mode"), str):
        found.upsampling.add(mode)
    if not state.get("_modules"):
        found.last = "tanh" if kind == "Tanh" else "sigmoid" if kind == "Sigmoid" else "other"
