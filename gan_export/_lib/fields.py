"""Check that the fields of a record that was read from a file have the types of their annotations."""

from __future__ import annotations

import math
import types
from dataclasses import fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_HINTS: dict[type, dict[str, Any]] = {}  # resolved annotations, once per class
LARGEST = 1 << 62  # of any integer, so that what is computed from it fits in 64 bits


def wrong_field(record: Any) -> str | None:
    """Return the first field of a dataclass instance whose value isn't of its type, or None.

    Supports int, float (finite, or an int), bool, str, Literal, tuples and unions of them; a bool is no int.  Records
    in tuples check themselves.
    """
    kind = type(record)
    if kind not in _HINTS:
        _HINTS[kind] = get_type_hints(kind)
    hints = _HINTS[kind]
    return next((f.name for f in fields(record) if not _fits(getattr(record, f.name), hints[f.name])), None)


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin in (Union, types.UnionType):
        return any(_fits(value, a) for a in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return all(_fits(v, arguments[0]) for v in value)
        return len(value) == len(arguments) and all(map(_fits, value, arguments))
    if isinstance(origin, type):  # a Mapping: its reader checks the values
        return isinstance(value, origin)
    if hint is int:
        return type(value) is int and abs(value) < LARGEST
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    return isinstance(value, hint)
