"""Which state dicts a file holds, and in what order they are worth a try."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from gan_export.checkpoint.keys import WRAPPERS
from gan_export.checkpoint.modules import Recovered, is_module, recover, submodule
from gan_export.checkpoint.values import FLOATS, Record, Tensor, as_tensor

MAX_DEPTH = 3
MAX_CANDIDATES = 64
MAX_VISITED = 100_000
_MAX_NAME = 200  # a wrapper's key; longer ones are no names that anyone would give with --key

Role = Literal["ema", "generator", "unknown", "discriminator"]
_ORDER: tuple[Role, ...] = ("ema", "generator", "unknown", "discriminator")

# A wrapper's key without separators and case, made of these alone.
_AROUND = r"(?:net|model|state|dict|params?|weights?|pretrained|trained|best|last|latest|module|\d)*"
_GENERATOR = re.compile(rf"{_AROUND}(?:generator|gen|g|decoder){_AROUND}")
_DISCRIMINATOR = re.compile(rf"{_AROUND}(?:discriminator\w*|disc|dis|critic\w*|d|encoder){_AROUND}")
_EMA = re.compile(
    rf"{_AROUND}(?:generator|gen|g)?(?:ema|avg|averaged?|swa|shadow|runningavg)(?:generator|gen|g)?{_AROUND}"
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One state dict of the file.

    path: its dotted path, "" for the file itself.  tensors: by the file's keys, those under `path` without it.
    module: where it was a pickled nn.Module, what else that says.
    """

    path: str
    role: Role
    tensors: Mapping[str, Tensor]
    module: Recovered | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """candidates: best first.  optimisers: paths of their states, which are never tried."""

    candidates: tuple[Candidate, ...]
    optimisers: tuple[str, ...]


def find(root: object) -> Found:
    """Every dict or pickled module that holds tensors, to a depth of three, and the parts of those that hold several
    networks."""
    whole: list[Candidate] = []
    optimisers: list[str] = []
    for path, value in _walk(root):
        if _is_optimiser(value):
            optimisers.append(path)
            continue
        module = recover(value) if isinstance(value, Record) and is_module(value) else None
        tensors = module.tensors if module else tensors_of(value)
        if tensors:
            whole.append(Candidate(path, role_of(path), tensors, module))
        if len(whole) >= MAX_CANDIDATES:
            break
    everything = [c for w in whole for c in (w, *_parts(w))]
    ranked = sorted(everything, key=lambda c: _ORDER.index(c.role))  # stable: in the file's order among equals
    return Found(tuple(ranked[:MAX_CANDIDATES]), tuple(optimisers))


def at_path(found: Found, path: str) -> Candidate | None:
    """The candidate that `--key` names: by its whole path, a part of a state dict, or its last name if only one
    has it."""
    for candidate in found.candidates:
        if candidate.path == path:
            return candidate
    for candidate in found.candidates:
        head = f"{candidate.path}." if candidate.path else ""
        if path.startswith(head) and (part := _under(candidate, path[len(head) :])):
            return part
    named = [c for c in found.candidates if c.path.endswith("." + path)]
    return named[0] if len(named) == 1 else None


def role_of(path: str) -> Role:
    """What the names on the path say, the innermost that says something."""
    for name in reversed(path.split(".")):
        plain = re.sub(r"[^a-z0-9]", "", name.lower())
        camel = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
        if len(plain) > 60:
            continue
        if _EMA.fullmatch(plain) or re.search(r"(^|[^a-z])(ema|avg|swa|shadow|averaged?)($|[^a-z])", camel):
            return "discriminator" if re.search(r"(^|[^a-z])(d|disc\w*|net_?d)($|[^a-z])", camel) else "ema"
        if _GENERATOR.fullmatch(plain):
            return "generator"
        if _DISCRIMINATOR.fullmatch(plain):
            return "discriminator"
    return "unknown"


def _walk(root: object) -> Iterator[tuple[str, object]]:
    """(path, value) of dicts and records, outermost first."""
    level: list[tuple[str, object]] = [("", root)]
    seen: set[int] = set()
    left = MAX_VISITED
    for depth in range(MAX_DEPTH + 1):
        following: list[tuple[str, object]] = []
        for path, value in level:
            if id(value) in seen:
                continue
            seen.add(id(value))
            yield path, value
            if depth == MAX_DEPTH or is_module(value) or _is_optimiser(value):
                continue
            for name, child in _children(value):
                left -= 1
                if left < 0:
                    return
                if isinstance(child, (dict, Record)):
                    following.append((f"{path}.{name}" if path else name, child))
        level = following


def _children(value: object) -> Iterator[tuple[str, object]]:
    tables = (
        (value,) if isinstance(value, dict) else (value.items, value.attributes()) if isinstance(value, Record) else ()
    )
    for table in tables:
        for key, child in (table or {}).items():
            if isinstance(key, (str, int)) and not (isinstance(key, str) and len(key) > _MAX_NAME):
                yield str(key), child
    elements = value.elements if isinstance(value, Record) else None
    for i, child in enumerate(elements or ()):
        yield str(i), child


def tensors_of(value: object) -> dict[str, Tensor]:
    """The tensors of a dict, or of a record that is one (a subclass of dict)."""
    table = value if isinstance(value, dict) else (value.items if isinstance(value, Record) else None)
    found = {k: t for k, v in (table or {}).items() if isinstance(k, str) and (t := as_tensor(v)) is not None}
    return found if any(t.shape and t.dtype in FLOATS for t in found.values()) else {}


def _is_optimiser(value: object) -> bool:
    if isinstance(value, dict):
        return isinstance(value.get("param_groups"), list) and isinstance(value.get("state"), dict)
    state = value.attributes() if isinstance(value, Record) else {}
    return isinstance(state.get("param_groups"), list) and "state" in state


def _parts(whole: Candidate) -> list[Candidate]:
    """The networks within a state dict that holds several, or a copy of one: told by the names before their keys."""
    groups: dict[str, int] = {}
    for key in whole.tensors:
        head = _head(key)
        groups[head] = groups.get(head, 0) + 1
    roles = {h: role_of(h.rpartition(".")[2]) for h in groups if h and len(h) <= _MAX_NAME}
    if len(groups) < 2 or len(roles) > 32 or all(r == "unknown" for r in roles.values()):
        return []
    return [p for h, r in roles.items() if r != "unknown" and (p := _under(whole, h))]


def _head(key: str) -> str:
    """The first component of a key that is no wrapper's, with the wrappers before it."""
    parts = key.split(".")
    for i, part in enumerate(parts[:-1]):
        if part not in WRAPPERS:
            return ".".join(parts[: i + 1])
    return ""


def _under(whole: Candidate, prefix: str) -> Candidate | None:
    inner = {k[len(prefix) + 1 :]: t for k, t in whole.tensors.items() if k.startswith(prefix + ".")}
    path = f"{whole.path}.{prefix}" if whole.path else prefix
    part = submodule(whole.module.record, prefix) if whole.module else None
    # The settings of the whole aren't the part's: a discriminator's LeakyReLU says nothing of the generator.
    module = recover(part) if part else None
    if module:
        module.whole = False  # and what the whole does with the part's values, its own code says
    return Candidate(path, role_of(prefix.rpartition(".")[2]), inner, module) if inner else None
