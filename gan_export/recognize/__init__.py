"""Recognising a DCGAN-family generator from the keys and shapes of its state dict, and nothing else.

The families are imported when they are first asked for: `--help` needs their flags alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gan_export.recognize.options import Alternative, Assumption, Mismatch, Overrides, Reading

if TYPE_CHECKING:
    from gan_export.graph.spec import GeneratorSpec
    from gan_export.recognize.builder import Family
    from gan_export.recognize.detect import recognise
    from gan_export.recognize.registry import ARCHS

__all__ = [
    "ARCHS",
    "Alternative",
    "Assumption",
    "Family",
    "GeneratorSpec",
    "Mismatch",
    "Overrides",
    "Reading",
    "recognise",
]
_HOME = {
    "ARCHS": "recognize.registry",
    "Family": "recognize.builder",
    "GeneratorSpec": "graph.spec",
    "recognise": "recognize.detect",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f"gan_export.{_HOME[name]}"), name)
