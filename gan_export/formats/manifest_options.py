"""Check those options of a manifest that are used, not only shown: their types and sizes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

# of the latents that BatchNorm's statistics are estimated from; more change no digit, and cost the verifier time
_MOST_LATENTS = 1 << 20
_MOST_IMAGES = 1 << 16  # of a graph's fixed batch size
_MOST_ERROR = 1e6  # in standard deviations of an output


def fit(options: Mapping[str, Any]) -> bool:
    """Return whether each option that is used is a value that an exporter writes."""
    return all(fits(options[name]) for name, fits in _READ.items() if name in options)


def _is_count(most: int) -> Callable[[Any], bool]:
    return lambda value: value is None or (type(value) is int and 1 <= value <= most)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def _is_symbol(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[a-z][a-z0-9_]{0,39}", value, re.ASCII) is not None


_READ: Mapping[str, Callable[[Any], bool]] = {
    "recalibrate": _is_count(_MOST_LATENTS),
    "static": _is_count(_MOST_IMAGES),
    "points": _is_count(_MOST_IMAGES),  # of a .gan file of version 2
    "error_budget": lambda value: type(value) in (int, float) and 0 <= value < _MOST_ERROR,
    "device": lambda value: value in ("cpu", "cuda"),
    "backend": lambda value: value in ("xnnpack", "portable"),
    "sampler": _is_flag,
    "embed_weights": _is_flag,
    "isa": _is_texts,
    "symbol": _is_symbol,
}
