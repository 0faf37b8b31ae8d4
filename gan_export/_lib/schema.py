"""Decode plain data of JSON and TOML into frozen dataclasses, and check it.

A dataclass's annotations are the schema.  Supported are int, float, bool, str, None, Any, Literal, unions of those,
tuples, Mapping[str, X] and dataclasses of them; a class with a static `from_data` decodes itself.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from gan_export.errors import GanExportError, printable

MAX_INT = 1 << 64  # above any integer's magnitude: a seed has 64 bits
_SHOWN = 40  # characters of a wrong value in a message
_NEEDED = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}

_PLURALS = {int: "whole numbers", float: "numbers", bool: "truths", str: "texts"}

T = TypeVar("T")
_hints: dict[type, dict[str, Any]] = {}  # resolved annotations, once per class


def decode(kind: type[T], data: Any, where: str, path: str = "") -> T:
    """Build a `kind` from plain data, with every field checked.

    where: what the data is or came from; every message begins with it
    path:  of `data` inside that, in messages: "optimizer.generator"

    Lists become tuples, and integers become floats if the field is a float.  A bool is no number; NaN, infinities and
    integers from 2^64 on are refused.
    Raises GanExportError, in one line, for a missing or an unknown field (with the nearest name) or a value that
    doesn't fit; exceptions of the class's own __post_init__ pass through.
    """
    if not isinstance(data, Mapping):
        raise _refused(where, path, data, "an object with named fields")
    hints = _resolved(kind)
    known = {f.name: f for f in dataclasses.fields(kind) if f.init}  # type: ignore[arg-type]
    for key in data:
        if key not in known:
            full = _join(path, str(key))
            choices = [_join(path, n) for n in known] + ([] if path else _nested(kind))
            raise GanExportError(
                f"{printable(where)}: unknown field {printable(full, 80)}{did_you_mean(full, choices)}"
            )
    for f in known.values():
        if f.name not in data and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise GanExportError(f"{printable(where)}: {_join(path, f.name)} is missing")
    return kind(**{key: _value(hints[key], value, where, _join(path, key)) for key, value in data.items()})


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return " (did you mean NEAREST?)", or "" if no choice is near.

    For dotted names, the right last part in the wrong section, or in none, counts as near.
    """
    choices = list(choices)
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    if not close:
        by_last = {c.rpartition(".")[2]: c for c in choices}
        close = [by_last[m] for m in difflib.get_close_matches(word.rpartition(".")[2], by_last, n=1, cutoff=0.6)]
    return f" (did you mean {close[0]}?)" if close else ""


def _value(hint: Any, value: Any, where: str, path: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _union(arguments, value, where, path)
    if dataclasses.is_dataclass(hint):
        if (from_data := getattr(hint, "from_data", None)) is not None:  # the class decodes itself
            return _by_its_own(from_data, value, where, path)
        return decode(hint, value, where, path)  # type: ignore[arg-type]
    if origin is Literal:
        if type(value) in {type(a) for a in arguments} and value in arguments:
            return value
        raise _refused(where, path, value, f"one of {', '.join(map(str, arguments))}")
    if origin is tuple:
        return _tuple(arguments, value, where, path)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(k, str) for k in value):
            raise _refused(where, path, value, "an object with named fields")
        return {k: _value(arguments[1], v, where, _join(path, k)) for k, v in value.items()}
    if hint is Any:
        return value
    if hint is float and type(value) in (int, float) and abs(value) < MAX_INT**16 and math.isfinite(value):
        return float(value)
    if hint is int and type(value) is int and abs(value) < MAX_INT:
        return value
    if hint in (bool, str, types.NoneType) and type(value) is hint:
        return value
    raise _refused(where, path, value, _needed(hint))


def _by_its_own(from_data: Callable[[Any], Any], value: Any, where: str, path: str) -> Any:
    try:
        return from_data(value)
    except GanExportError as e:
        raise GanExportError(f"{printable(where)}: {path}: {e}") from None


def _union(arguments: Collection[Any], value: Any, where: str, path: str) -> Any:
    if value is None and types.NoneType in arguments:
        return None
    kinds = [a for a in arguments if a is not types.NoneType]
    if len(kinds) > 1:
        for kind in kinds:
            try:
                return _value(kind, value, where, path)
            except GanExportError:
                continue
        raise _refused(where, path, value, " or ".join(_needed(k) for k in kinds))
    return _value(kinds[0], value, where, path)


def _tuple(arguments: tuple[Any, ...], value: Any, where: str, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _refused(where, path, value, _list_of(arguments))
    kinds = (arguments[0],) * len(value) if arguments[-1:] == (Ellipsis,) else arguments
    if len(kinds) != len(value):
        raise _refused(where, path, value, f"a list of {len(kinds)}")
    return tuple(_value(k, v, where, f"{path}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))


def _needed(hint: Any) -> str:
    if hint in _NEEDED:
        return _NEEDED[hint]
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if get_origin(hint) is tuple:
        return _list_of(get_args(hint))
    return "an object with named fields"


def _list_of(arguments: tuple[Any, ...]) -> str:
    return f"a list of {_PLURALS[arguments[0]]}" if arguments[0] in _PLURALS else "a list"


def _refused(where: str, path: str, value: Any, needed: str) -> GanExportError:
    shown = printable(value if isinstance(value, str) else _short(value), _SHOWN)
    return GanExportError(
        f"{printable(where)}: {f'{printable(path, 80)} is {shown}' if path else shown}; {needed} is needed"
    )


def _short(value: Any) -> str:
    """Return a value's text; the cost doesn't grow with the value."""
    match value:
        case Mapping() | list() | tuple():
            return f"{'an object' if isinstance(value, Mapping) else 'a list'} of {len(value)}"
        case int() if not isinstance(value, bool) and abs(value) >= MAX_INT:
            return f"a whole number of {value.bit_length()} bits"
        case _:
            return repr(value)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _resolved(kind: type) -> dict[str, Any]:
    if kind not in _hints:
        _hints[kind] = get_type_hints(kind)
    return _hints[kind]


def _nested(kind: type) -> list[str]:
    """Return every field of the dataclasses that are fields of `kind`, as section.field."""
    sections = {n: h for n, h in _resolved(kind).items() if dataclasses.is_dataclass(h)}
    return [f"{n}.{f.name}" for n, h in sections.items() for f in dataclasses.fields(h)]
