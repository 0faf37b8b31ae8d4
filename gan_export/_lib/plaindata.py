"""Parse JSON and TOML from strangers within bounds.

Python's own parsers raise RecursionError for deep nesting, return numbers that can't be printed, and take time that
grows with the square of the parts of a dotted key.  These functions raise a ValueError of one line instead, as for any
other damage.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from typing import Any

DEEPEST = 64  # levels of lists and tables; our deepest file has six
LONGEST_INTEGER = 20  # digits: those of 2^64 - 1, a seed
LARGEST_TOML = 1 << 18  # characters; the largest recipe has two thousand
MOST_DOTS = 4096  # in a TOML text: the time for a dotted key grows with their square, a third of a second here

Pairs = Callable[[list[tuple[str, Any]]], Any]


def from_json(text: str | bytes, pairs: Pairs | None = None) -> Any:
    """Parse JSON; raise ValueError if it is invalid, nested too deeply, or has a number of too many digits.

    pairs: makes the value of an object from its (name, value) pairs; default: a dictionary
    """
    try:
        found = json.loads(text, parse_int=_integer, object_pairs_hook=pairs)
    except RecursionError:
        raise _too_deep() from None
    _check(found)
    return found


def from_toml(text: str) -> dict[str, Any]:
    """Parse TOML; raise ValueError as `from_json` does, and for a text of more than LARGEST_TOML or MOST_DOTS."""
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
    """Check the depth, and integers written in hexadecimal, level by level, because recursion could overflow."""
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
