"""JSON and TOML that strangers wrote, parsed within bounds.

Python's own parsers end in a RecursionError for nesting, give numbers that can't be printed, and take time that
grows with the square of a dotted key's parts.  These end in a ValueError of one line instead, as for any other damage.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from typing import Any

DEEPEST = 64  # lists and tables within each other; the deepest file of ours has six
LONGEST_INTEGER = 20  # digits: 2^64 - 1, a seed, has as many
LARGEST_TOML = 1 << 18  # characters; the largest recipe has two thousand
MOST_DOTS = 4096  # in a text of TOML: the time for a dotted key grows with their square, a third of a second here

Pairs = Callable[[list[tuple[str, Any]]], Any]


def from_json(text: str | bytes, pairs: Pairs | None = None) -> Any:
    """Parse JSON.  Raises ValueError for what is none, lies too deep, or holds a number of too many digits.

    pairs: makes what stands for an object of its (name, value) pairs; a dictionary without it.
    """
    try:
        found = json.loads(text, parse_int=_integer, object_pairs_hook=pairs)
    except RecursionError:
        raise _too_deep() from None
    _check(found)
    return found


def from_toml(text: str) -> dict[str, Any]:
    """Parse TOML.  Raises ValueError as `from_json` does, and for a text of over LARGEST_TOML or MOST_DOTS."""
    if len(text) > LARGEST_TOML:
        raise ValueError(f"{len(text):,} characters; at most {LARGEST_TOML:,} are read")
    if text.count(".") > MOST_DOTS:
        raise ValueError(f"{text.count('.'):,} dots; at most {MOST_DOTS:,} are read")
    try:
        found = tomllib.loads(text)
    except RecursionError:
        raise _too_deep() from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:
        raise ValueError(f"a number of more digits than the {LONGEST_INTEGER} that are read") from None
    _check(found)
    return found


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_INTEGER + 1:  # the sign
        raise _too_long(len(digits))
    return int(digits)


def _check(value: Any) -> None:
    """Bounds depth, and whole numbers written in hexadecimal; level by level, since a walk down could overflow."""
    level = [value]
    for _ in range(DEEPEST + 1):
        following: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                following.extend(item.values())
            elif isinstance(item, list):
                following.extend(item)
            elif type(item) is int and item.bit_length() > 64:
                raise _too_long(item.bit_length() * 3 // 10)
        if not following:
            return
        level = following
    raise _too_deep()


def _too_deep() -> ValueError:
    return ValueError(f"nested deeper than {DEEPEST} levels")


def _too_long(digits: int) -> ValueError:
    return ValueError(f"a number of {digits:,} digits; {LONGEST_INTEGER} are read")
