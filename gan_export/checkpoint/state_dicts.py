"""Find the state dicts in a file, and rank them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from gan_export._lib.budget import Budget
from gan_export.checkpoint import tensorflow
from gan_export.checkpoint.beside import config_of, with_vectorizer
from gan_export.checkpoint.containers.tensors import FLOATS, OpaqueObject, Tensor, as_tensor
from gan_export.checkpoint.keys import WRAPPERS
from gan_export.checkpoint.pickled_modules import PickledModule, is_module, read_module, submodule
from gan_export.recognize.other_networks import gives_a_code
from gan_export.recognize.state_dict import Config

MAX_DEPTH = 3
MAX_CANDIDATES = 64
MAX_VISITED = 100_000
_MAX_NAME = 200  # characters of a key on a path; nobody would type a longer one for --key

MEAN_OF_W = "latent_avg"  # a StyleGAN2's mean of w; rosinality's and pSp's files have it beside the weights

Role = Literal["ema", "generator", "unknown", "discriminator"]
_ORDER: tuple[Role, ...] = ("ema", "generator", "unknown", "discriminator")

# A wrapper's key in lower case, without separators, consists only of these words.
_AROUND = r"(?:net|model|state|dict|params?|weights?|pretrained|trained|best|last|latest|module|\d)*"
_GENERATOR = re.compile(rf"{_AROUND}(?:generator|gen|g|decoder){_AROUND}")
_DISCRIMINATOR = re.compile(rf"{_AROUND}(?:discriminator\w*|disc|dis|critic\w*|d|encoder){_AROUND}")
_EMA = re.compile(
    rf"{_AROUND}(?:generator|gen|g)?(?:ema|avg|averaged?|swa|shadow|runningavg)(?:generator|gen|g)?{_AROUND}"
    "|ge"  # lucidrains' name
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A state dict in the file.

    path: its dotted path, "" for the file itself.  tensors: by the file's keys, without `path`.
    module: the facts of a pickled nn.Module, or None for a dict.
    calls: key of a value that is the result of a call -> the function; it has no tensor here.
    config: the settings that its script saved beside it.
    """

    path: str
    role: Role
    tensors: Mapping[str, Tensor]
    module: PickledModule | None = None
    calls: Mapping[str, str] = field(default_factory=dict)
    config: Config = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StateDictSearch:
    """The state dicts of a file.  candidates: best first.  optimizers: paths of optimizer states, never tried."""

    candidates: tuple[Candidate, ...]
    optimizers: tuple[str, ...]


def find(root: object, budget: Budget) -> StateDictSearch:
    """Return the dicts and pickled modules with tensors, to a depth of three, and their parts if they have several
    networks."""
    if snapshot := tensorflow.generators(root, budget):
        roles: dict[str, Role] = {"Gs": "ema", "G": "generator"}
        return StateDictSearch(
            tuple(Candidate(n.name, roles[n.name], n.tensors, config=n.config) for n in snapshot), ()
        )  # fmt: skip
    whole: list[Candidate] = []
    optimizers: list[str] = []
    beside = as_tensor(root.get(MEAN_OF_W)) if isinstance(root, dict) else None
    configs: dict[str, Config] = {}
    for path, value in _walk(root, budget):
        if _is_optimizer(value):
            optimizers.append(path)
            continue
        module = read_module(value, budget) if isinstance(value, OpaqueObject) and is_module(value) else None
        tensors, calls = (module.tensors, module.calls) if module else _contents(value, budget)
        if isinstance(value, dict) and (config := config_of(value, budget)):
            configs[path] = config
        if tensors:
            config = configs.get(path.rpartition(".")[0], {}) if path else {}
            whole.append(Candidate(path, role_of(path), tensors, module, calls, config))
        if len(whole) >= MAX_CANDIDATES:
            break
    everything = [_with_mean(c, beside, budget) for w in whole for c in (w, *_parts(w, budget))]
    ranked = sorted(everything, key=lambda c: _ORDER.index(c.role))  # stable: equal roles keep the file's order
    return StateDictSearch(tuple(ranked[:MAX_CANDIDATES]), tuple(optimizers))


def _with_mean(candidate: Candidate, mean: Tensor | None, budget: Budget) -> Candidate:
    """Return the candidate with the mean of w that the file has beside it, if it is a style-based generator."""
    if mean is None or not candidate.path or MEAN_OF_W in candidate.tensors:
        return candidate
    budget.spend(len(candidate.tensors))
    if not any(key.endswith("style.1.weight") for key in candidate.tensors):
        return candidate
    return replace(candidate, tensors={**candidate.tensors, MEAN_OF_W: mean})


def at_path(found: StateDictSearch, path: str, budget: Budget) -> Candidate | None:
    """Return the candidate of `--key`: a path, a part of a state dict, or the last component of only one path; or
    None."""
    for candidate in found.candidates:
        if candidate.path == path:
            return candidate
    for candidate in found.candidates:
        head = f"{candidate.path}." if candidate.path else ""
        if path.startswith(head) and (part := _under(candidate, path[len(head) :], budget)):
            return part
    named = [c for c in found.candidates if c.path.endswith("." + path)]
    return named[0] if len(named) == 1 else None


def owned_twice(weights: Mapping[str, Tensor]) -> set[str]:
    """Return the keys of arrays that the file has under another key too, of layers that two modules own.

    Of these keys, the one with most numbers stays: those of Sequentials, which show a layer's place.  Keys that differ
    only in numbers all stay: they are of one layer that runs several times.
    """
    by_place: dict[tuple[object, ...], list[str]] = {}
    for key, t in weights.items():
        if t.numel:
            by_place.setdefault((id(t.storage), t.offset, t.shape), []).append(key)
    twice: set[str] = set()
    for found in by_place.values():
        if len(found) > 1 and len({re.sub(r"\d+", "#", key) for key in found}) > 1:
            kept = max(found, key=lambda k: sum(part.isdigit() for part in k.split(".")))
            twice.update(k for k in found if k != kept)
    return twice


def role_of(path: str) -> Role:
    """Return the role by the innermost name on the path that shows one."""
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


def _walk(root: object, budget: Budget) -> Iterator[tuple[str, object]]:
    """Yield (path, value) of dicts and records, outermost first."""
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
            if depth == MAX_DEPTH or is_module(value) or _is_optimizer(value):
                continue
            for name, child in _children(value):
                left -= 1
                if left < 0:
                    return
                budget.spend(2)
                if isinstance(child, (dict, OpaqueObject)):
                    following.append((f"{path}.{name}" if path else name, child))
        level = following


def _children(value: object) -> Iterator[tuple[str, object]]:
    tables = (
        (value,)
        if isinstance(value, dict)
        else (value.items, value.attributes())
        if isinstance(value, OpaqueObject)
        else ()
    )
    for table in tables:
        for key, child in (table or {}).items():
            if isinstance(key, (str, int)) and not (isinstance(key, str) and len(key) > _MAX_NAME):
                yield str(key), child
    elements = value.elements if isinstance(value, OpaqueObject) else None
    for i, child in enumerate(elements or ()):
        yield str(i), child


def tensors_of(value: object, budget: Budget) -> dict[str, Tensor]:
    """Return the tensors of a dict, or of a record whose class is a subclass of dict."""
    return _contents(value, budget)[0]


def _contents(value: object, budget: Budget) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return (tensors, functions whose results are other values) of a dict or such a record, by key."""
    table = value if isinstance(value, dict) else (value.items if isinstance(value, OpaqueObject) else None)
    found: dict[str, Tensor] = {}
    calls: dict[str, str] = {}
    budget.spend(len(table or ()))
    for key, inner in (table or {}).items():
        if not isinstance(key, str):
            continue
        if (tensor := as_tensor(inner)) is not None:
            found[key] = tensor
        elif isinstance(inner, OpaqueObject):
            calls[key] = str(inner.name)
    return (found, calls) if any(t.shape and t.dtype in FLOATS for t in found.values()) else ({}, {})


def _is_optimizer(value: object) -> bool:
    if isinstance(value, dict):
        return isinstance(value.get("param_groups"), list) and isinstance(value.get("state"), dict)
    state = value.attributes() if isinstance(value, OpaqueObject) else {}
    return isinstance(state.get("param_groups"), list) and "state" in state


_STEPS_PER_KEY = 6  # to find the network of a key
_MOST_JOINED = 6  # parts of a decoder


def _parts(whole: Candidate, budget: Budget) -> list[Candidate]:
    """Return the networks in a state dict with several, or with a copy of one, by the names before their keys."""
    groups = _groups(whole, budget, names=1)
    if len(groups) == 1 and "" not in groups:  # a larger object, such as "model", holds all of them
        groups = _groups(whole, budget, names=2)
    heads = [h for h in groups if h and len(h) <= _MAX_NAME]
    if len(groups) < 2 or len(heads) > 32:  # checked first, since finding a role takes microseconds
        return []
    roles = {h: role_of(h.rpartition(".")[2]) for h in heads}
    found = {h: with_vectorizer(h, groups) for h, r in roles.items() if r != "unknown"}
    parts = [_part(whole, head, inner, budget) for head, inner in found.items()]
    joined = _decoder(whole, groups, roles)
    return [joined, *parts] if joined else parts


def _groups(whole: Candidate, budget: Budget, *, names: int) -> dict[str, dict[str, Tensor]]:
    """Return the tensors by the first names of their keys, and then by the rest of the key."""
    groups: dict[str, dict[str, Tensor]] = {}
    for key, tensor in whole.tensors.items():
        budget.spend(_STEPS_PER_KEY)
        budget.text(len(key))
        head = _head(key, names)
        groups.setdefault(head, {})[key[len(head) + 1 :] if head else key] = tensor
    return groups


def _decoder(
    whole: Candidate, groups: Mapping[str, Mapping[str, Tensor]], roles: Mapping[str, Role]
) -> Candidate | None:
    """Return an autoencoder without its encoder and the layers that give its code, if several parts are left.

    Its path has their names: "decoder_input+decoder+final_layer".
    """
    encoders = [h for h, r in roles.items() if r == "discriminator" and "enc" in h.lower()]
    left = [h for h in roles if h not in encoders and not gives_a_code(h)]
    if not encoders or whole.module is not None or not 2 <= len(left) <= _MOST_JOINED:
        return None
    if not any(roles[h] == "generator" for h in left) or any(roles[h] in ("ema", "discriminator") for h in left):
        return None
    short = {h: h.rpartition(".")[2] for h in left}
    tensors = {f"{short[h]}.{k}": t for h in left for k, t in groups[h].items()}
    path = "+".join(short.values())
    return Candidate(f"{whole.path}.{path}" if whole.path else path, "generator", tensors)


def _head(key: str, names: int) -> str:
    """Return a key up to the last of its first `names` components that aren't a wrapper's; "" if it has fewer."""
    parts = key.split(".")
    for i, part in enumerate(parts[:-1]):
        names -= part not in WRAPPERS
        if not names:
            return ".".join(parts[: i + 1])
    return ""


def _under(whole: Candidate, prefix: str, budget: Budget) -> Candidate | None:
    budget.spend(len(whole.tensors))
    inner = {k[len(prefix) + 1 :]: t for k, t in whole.tensors.items() if k.startswith(prefix + ".")}
    return _part(whole, prefix, inner, budget) if inner else None


def _part(whole: Candidate, prefix: str, inner: Mapping[str, Tensor], budget: Budget) -> Candidate:
    path = f"{whole.path}.{prefix}" if whole.path else prefix
    part = submodule(whole.module.record, prefix) if whole.module else None
    # A part doesn't take the settings of the whole: a discriminator's LeakyReLU isn't the generator's.
    module = read_module(part, budget) if part else None
    if module:
        module.whole = False  # the whole's own code, which isn't read, may change the part's outputs
    calls = {k[len(prefix) + 1 :]: c for k, c in whole.calls.items() if k.startswith(prefix + ".")}
    return Candidate(path, role_of(prefix.rpartition(".")[2]), inner, module, calls, whole.config)
