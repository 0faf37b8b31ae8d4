"""Recognising a DCGAN-family generator from the keys and shapes of its state dict, and nothing else.

The families are imported when they are first asked for: `--help` needs their flags alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gan_export.arch.reading import Alternative, Assumption, Mismatch, Overrides, Reading

if TYPE_CHECKING:
    from gan_export.arch.draft import Family
    from gan_export.arch.recognition import recognise
    from gan_export.arch.registry import ARCHS
    from gan_export.arch.spec import GeneratorSpec

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
_HOME = {"ARCHS": "registry", "Family": "draft", "GeneratorSpec": "spec", "recognise": "recognition"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
