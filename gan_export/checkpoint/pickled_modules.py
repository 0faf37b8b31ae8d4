"""Read a pickled nn.Module (`torch.save(model)`) as a state dict, without its class.

A module's record contains `_parameters`, `_buffers` and `_modules`, and so everything that `state_dict()` returns.
Unlike a state dict, it also contains the kind of each layer, strides, eps, and the layers without weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from gan_export._lib.budget import Budget
from gan_export.checkpoint.containers.tensors import GlobalRef, OpaqueObject, Tensor, as_tensor
from gan_export.recognize.state_dict import ModuleSettings

MAX_DEPTH = 32
MAX_MODULES = 20_000
MAX_NAME = 200  # characters of an attribute's name
MAX_HOOKS = 100  # of a module with all its parts; a few are shown
_VISIT = 20  # steps of one module, without its children and tensors
_WRAPPERS = ("DataParallel", "DistributedDataParallel")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A module without children.

    path: "main.3".  kind: name of its class.  own: whether the class is torch's.  settings: its attributes in the file.
    tensors: whether it has parameters or buffers.
    """

    path: str
    kind: str
    own: bool
    settings: Mapping[object, object]
    tensors: bool


@dataclass
class PickledModule:
    """A module's tensors by key, and the facts of its parts.

    leaves: by path.  sequences: paths of each Sequential's leaves, with nested ones, in the order of execution; "" is a
    part that runs by its own code.  whole: whether the module consists only of torch's own Sequentials.
    hooks: (path of a part, function that is called with it), without torch's own hooks.
    calls: key of a parameter that is the result of a call -> the function.
    settings: the numbers and words among the attributes of each module, by path.
    source: number of characters of source text in the file, from which its writer would rebuild classes.
    """

    record: OpaqueObject
    tensors: dict[str, Tensor] = field(default_factory=dict)
    leaves: dict[str, Leaf] = field(default_factory=dict)
    sequences: list[list[str]] = field(default_factory=list)
    whole: bool = False
    hooks: list[tuple[str, str]] = field(default_factory=list)
    calls: dict[str, str] = field(default_factory=dict)
    settings: dict[str, ModuleSettings] = field(default_factory=dict)
    source: int = 0

    @cached_property
    def places(self) -> dict[str, tuple[int, int]]:
        """Map each path to (index of the first sequence that has it, its index in that sequence)."""
        found: dict[str, tuple[int, int]] = {}
        for number, sequence in enumerate(self.sequences):
            for at, path in enumerate(sequence):
                found.setdefault(path, (number, at))
        return found

    @cached_property
    def loose(self) -> tuple[Leaf, ...]:
        """The modules whose place only the module's own code shows: outside of any Sequential that has weights."""
        placed: set[str] = set()
        for sequence in self.sequences:
            if any(path in self.leaves and self.leaves[path].tensors for path in sequence):
                placed.update(sequence)
        return tuple(leaf for path, leaf in self.leaves.items() if path not in placed)


def is_module(value: object) -> bool:
    """Return whether a record is a pickled nn.Module, by its attributes: its class can have any name."""
    if not isinstance(value, OpaqueObject):
        return False
    state = value.attributes()
    return isinstance(state.get("_modules"), dict) and isinstance(state.get("_parameters"), dict)


def read_module(module: OpaqueObject, budget: Budget) -> PickledModule:
    """Return the tensors of `module.state_dict()`, in its order, and the facts of the module's parts."""
    found = PickledModule(module)
    tree = _Tree(budget)
    inner: set[str] = set()  # Sequentials within another one
    left = MAX_MODULES
    sources: dict[int, int] = {}
    for prefix, record in _walk(module, tree, budget):
        state, before = record.attributes(), len(found.tensors)
        found.settings[prefix[:-1]] = _settings(record, state, budget)
        if (text := _source(record)) is not None:
            sources[id(text)] = len(text)
        hidden = state.get("_non_persistent_buffers_set")
        elements = hidden.elements if isinstance(hidden, OpaqueObject) else hidden
        elements = elements if isinstance(elements, list) else []
        budget.spend(len(elements))
        skip = {e for e in elements if isinstance(e, str)}
        for kind in ("_parameters", "_buffers"):
            table = state.get(kind)
            table = table if isinstance(table, dict) else {}
            budget.spend(4 * len(table))
            for name, value in table.items():
                if not isinstance(name, str) or len(name) > MAX_NAME or (kind == "_buffers" and name in skip):
                    continue
                key = prefix + name
                if (tensor := as_tensor(value)) is not None:
                    budget.text(len(key))
                    budget.hold(len(key))
                    found.tensors[key] = tensor
                elif isinstance(value, OpaqueObject):
                    found.calls[key] = str(value.name)
        if len(found.hooks) < MAX_HOOKS:
            hooks = itertools.islice(_hooks(state, budget), MAX_HOOKS)
            found.hooks.extend((prefix[:-1], str(hook)) for hook in hooks)
        if tree.children(record):
            if tree.in_turn(record) and prefix not in inner:
                sequence = list(itertools.islice(_sequence(prefix, record, inner, tree), left))
                found.sequences.append(sequence)
                left -= len(sequence)
                found.whole = found.whole or (not prefix and tree.all_own(record))
        else:
            own = record.name.module.startswith("torch.nn.")
            path, tensors = prefix[:-1], len(found.tensors) > before
            found.leaves[path] = Leaf(path, record.name.qualname, own, state, tensors)
    found.source = sum(sources.values())
    return found


def _settings(record: OpaqueObject, state: Mapping[object, object], budget: Budget) -> ModuleSettings:
    """Return a module's class, and its attributes that are numbers, booleans or short words."""
    budget.spend(2 * len(state))
    plain = {k: v for k, v in state.items() if isinstance(k, str) and isinstance(v, int | float | bool | str | None)}
    short = {k: v for k, v in plain.items() if len(k) <= MAX_NAME and not (isinstance(v, str) and len(v) > MAX_NAME)}
    budget.hold(100 * len(short))
    return ModuleSettings(record.name.qualname, short)


def _source(record: OpaqueObject) -> str | None:
    """Return the source text in a record of `torch_utils.persistence`, or None."""
    args = record.args
    meta = args[0] if isinstance(args, tuple) and len(args) == 1 else None
    text = meta.get("module_src") if isinstance(meta, dict) and "class_name" in meta else None
    return text if isinstance(text, str) else None


def _hooks(state: Mapping[object, object], budget: Budget) -> Iterator[GlobalRef]:
    """Yield the functions that run before or after a module; torch's spectral and weight norm are hooks too."""
    for kind in ("_forward_pre_hooks", "_forward_hooks"):
        table = state.get(kind)
        for hook in table.values() if isinstance(table, dict) else ():
            budget.spend(4)
            name = hook.name if isinstance(hook, OpaqueObject) else hook
            if isinstance(name, GlobalRef) and not name.module.startswith("torch.nn."):
                yield name


def submodule(module: OpaqueObject, path: str) -> OpaqueObject | None:
    """Return `module.get_submodule(path)`, or None if the file doesn't have it."""
    for name in path.split(".", MAX_DEPTH)[:MAX_DEPTH]:
        children = module.attributes().get("_modules")
        child = children.get(name) if isinstance(children, dict) else None
        if not isinstance(child, OpaqueObject):
            return None
        module = child
    return module


class _Tree:
    """The parts of a module by identity; a part that occurs several times is examined once."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._children: dict[int, dict[str, OpaqueObject]] = {}
        self._in_turn: dict[int, bool] = {}

    def children(self, record: OpaqueObject) -> dict[str, OpaqueObject]:
        known = self._children.get(id(record))
        if known is None:
            table = record.attributes().get("_modules")
            table = table if isinstance(table, dict) else {}
            self.budget.spend(1 + len(table))
            items = ((n, c) for n, c in table.items() if isinstance(n, str) and isinstance(c, OpaqueObject))
            known = self._children[id(record)] = {n: c for n, c in items if len(n) <= MAX_NAME}
        return known

    def in_turn(self, record: OpaqueObject) -> bool:
        """Return whether the children run in order.

        They do in a Sequential, in a subclass of one with numbered children, and in a wrapper of one child.
        """
        known = self._in_turn.get(id(record))
        if known is None:
            children = self.children(record)
            if record.name.module.startswith("torch.nn."):
                known = _own(record, "Sequential", *_WRAPPERS)
            else:
                self.budget.spend(len(children))
                known = all(n == str(i) for i, n in enumerate(children))
            self._in_turn[id(record)] = known
        return known

    def all_own(self, record: OpaqueObject) -> bool:
        """Return whether only torch's own code runs after the last part."""
        for _ in range(MAX_DEPTH):
            children = self.children(record)
            if not children:
                return True
            if not _own(record, "Sequential", *_WRAPPERS):
                return False
            record = next(reversed(children.values()))
        return False


def _walk(module: OpaqueObject, tree: _Tree, budget: Budget) -> Iterator[tuple[str, OpaqueObject]]:
    """Yield (prefix, record), parents before children, in the order of `_modules`; a cycle is followed only once."""
    waiting: list[tuple[str, OpaqueObject, tuple[int, ...]]] = [("", module, ())]
    for _ in range(MAX_MODULES):
        if not waiting:
            return
        prefix, record, above = waiting.pop()
        budget.spend(_VISIT)
        yield prefix, record
        children = tree.children(record)
        if len(above) >= MAX_DEPTH:
            continue
        budget.spend(len(children))
        budget.hold(len(children) * len(prefix))
        here = (*above, id(record))
        waiting.extend((f"{prefix}{n}.", c, here) for n, c in reversed(children.items()) if id(c) not in here)


def _own(record: OpaqueObject, *kinds: str) -> bool:
    return record.name.module.startswith("torch.nn.") and record.name.qualname in kinds


def _sequence(
    prefix: str, record: OpaqueObject, inner: set[str], tree: _Tree, above: tuple[int, ...] = ()
) -> Iterator[str]:
    """Yield paths in the order of execution; a cycle is followed only once."""
    above = (*above, id(record))
    for name, child in tree.children(record).items():
        tree.budget.text(len(prefix))
        here = f"{prefix}{name}"
        if id(child) in above:
            continue
        if not tree.children(child):
            yield here
        elif tree.in_turn(child) and len(above) < MAX_DEPTH and len(inner) < MAX_MODULES:
            inner.add(f"{here}.")
            yield from _sequence(f"{here}.", child, inner, tree, above)
        else:
            yield ""
