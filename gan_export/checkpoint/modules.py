"""A pickled nn.Module (`torch.save(model)`) as a state dict, without its class.

A module's record holds `_parameters`, `_buffers` and `_modules`: all that `state_dict()` would have given.  It
also holds what a state dict leaves out: what each layer is, its strides, its eps, and what stands between layers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gan_export.checkpoint.values import Name, Record, Tensor, as_tensor

MAX_DEPTH = 32
MAX_MODULES = 20_000
_WRAPPERS = ("DataParallel", "DistributedDataParallel")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A module without children.

    path: "main.3".  kind: its class.  own: whether that is torch's.  settings: its attributes, as the file has them.
    tensors: whether it holds any.
    """

    path: str
    kind: str
    own: bool
    settings: Mapping[object, object]
    tensors: bool


@dataclass(slots=True)
class Recovered:
    """A module's tensors by key, and what its record says of its parts.

    leaves: by path.  sequences: paths in the order in which a Sequential runs them, those within it included; "" stands
    for a part whose own code says how it runs.  whole: whether the module is nothing but torch's own Sequential.
    hooks: (path, what is called whenever that part is), for those that aren't torch's own.
    """

    record: Record
    tensors: dict[str, Tensor] = field(default_factory=dict)
    leaves: dict[str, Leaf] = field(default_factory=dict)
    sequences: list[list[str]] = field(default_factory=list)
    whole: bool = False
    hooks: list[tuple[str, str]] = field(default_factory=list)


def is_module(value: object) -> bool:
    """Whether a record is a pickled nn.Module: by what it holds, since its class can be anyone's."""
    if not isinstance(value, Record):
        return False
    state = value.attributes()
    return isinstance(state.get("_modules"), dict) and isinstance(state.get("_parameters"), dict)


def recover(module: Record) -> Recovered:
    """What `module.state_dict()` would hold, in its order."""
    found = Recovered(module)
    inner: set[str] = set()  # Sequentials that are a part of another
    left = MAX_MODULES
    for prefix, record in _walk(module):
        state, before = record.attributes(), len(found.tensors)
        hidden = state.get("_non_persistent_buffers_set")
        elements = hidden.elements if isinstance(hidden, Record) else hidden
        skip = {e for e in elements if isinstance(e, str)} if isinstance(elements, list) else set()
        for kind in ("_parameters", "_buffers"):
            table = state.get(kind)
            for name, value in table.items() if isinstance(table, dict) else ():
                tensor = as_tensor(value)
                if isinstance(name, str) and tensor is not None and not (kind == "_buffers" and name in skip):
                    found.tensors[prefix + name] = tensor
        found.hooks.extend((prefix[:-1], str(hook)) for hook in _hooks(state))
        if _children(record):
            if _in_turn(record) and prefix not in inner:
                found.sequences.append(list(itertools.islice(_sequence(prefix, record, inner), left)))
                left -= len(found.sequences[-1])
                found.whole = found.whole or (not prefix and _all_own(record))
        else:
            own = record.name.module.startswith("torch.nn.")
            path, tensors = prefix[:-1], len(found.tensors) > before
            found.leaves[path] = Leaf(path, record.name.qualname, own, state, tensors)
    return found


def _hooks(state: Mapping[object, object]) -> Iterator[Name]:
    """Whose code runs before and behind a module's own; torch's spectral and weight norm are such hooks too."""
    for kind in ("_forward_pre_hooks", "_forward_hooks"):
        table = state.get(kind)
        for hook in table.values() if isinstance(table, dict) else ():
            name = hook.name if isinstance(hook, Record) else hook
            if isinstance(name, Name) and not name.module.startswith("torch.nn."):
                yield name


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


def _children(record: Record) -> dict[str, Record]:
    table = record.attributes().get("_modules")
    items = table.items() if isinstance(table, dict) else ()
    return {n: c for n, c in items if isinstance(n, str) and isinstance(c, Record)}


def _own(record: Record, *kinds: str) -> bool:
    return record.name.module.startswith("torch.nn.") and record.name.qualname in kinds


def _in_turn(record: Record) -> bool:
    """Whether its children run one after the other: a Sequential, one by a subclass's numbers, or a wrapper of one."""
    if record.name.module.startswith("torch.nn."):
        return _own(record, "Sequential", *_WRAPPERS)
    return list(_children(record)) == [str(i) for i in range(len(_children(record)))]


def _all_own(record: Record) -> bool:
    """Whether no code but torch's own says what happens around the last of it."""
    for _ in range(MAX_DEPTH):
        children = _children(record)
        if not children:
            return True
        if not _own(record, "Sequential", *_WRAPPERS):
            return False
        record = list(children.values())[-1]
    return False


def _sequence(prefix: str, record: Record, inner: set[str], depth: int = 0) -> Iterator[str]:
    for name, child in _children(record).items():
        here = f"{prefix}{name}"
        if not _children(child):
            yield here
        elif _in_turn(child) and depth < MAX_DEPTH and len(inner) < MAX_MODULES:
            inner.add(f"{here}.")
            yield from _sequence(f"{here}.", child, inner, depth + 1)
        else:
            yield ""
