"""Recognize a DCGAN-family generator from the keys and shapes of its state dict, and nothing else.

The families are imported only when they are used, because `--help` needs no more than the names of the flags.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gan_export.recognize.options import AlternativeMatch, Assumption, Match, Mismatch, ReadOptions

if TYPE_CHECKING:
    from gan_export.graph.spec import GeneratorSpec
    from gan_export.recognize.detect import recognize
    from gan_export.recognize.draft import Family
    from gan_export.recognize.registry import ARCHS

__all__ = [
    "ARCHS",
    "AlternativeMatch",
    "Assumption",
    "Family",
    "GeneratorSpec",
    "Match",
    "Mismatch",
    "ReadOptions",
    "recognize",
]
_HOME = {
    "ARCHS": "recognize.registry",
    "Family": "recognize.draft",
    "GeneratorSpec": "graph.spec",
    "recognize": "recognize.detect",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f"gan_export.{_HOME[name]}"), name)
