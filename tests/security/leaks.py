"""A program that does what no reader of ours may: it takes a name from its file, and looks it up or calls it.

`tests/security/test_watch.py` runs it as a job, to show that the watch detects each way.
"""

from __future__ import annotations

import builtins
import importlib
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _part(found: Any, name: str) -> Any:
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _loads(module: str, name: str) -> Any:
    return pickle.loads(f"c{module}\n{name}\n.".encode())


WAYS: dict[str, Callable[[str, str], Any]] = {
    "import_module": lambda module, name: importlib.import_module(module),
    "__import__": lambda module, name: builtins.__import__(module),
    "pickle": _loads,
    "call": lambda module, name: _part(sys.modules[module], name),
}


def main() -> None:
    """Run `leaks honest MODULE ...`, which imports, or `leaks WAY FILE`, which uses the name in the file.

    The file contains [module, name, arguments].
    """
    way, *words = sys.argv[1:]
    if way == "honest":
        for module in words:
            __import__(module)
        return
    module, name, arguments = json.loads(Path(words[0]).read_text())
    found = WAYS[way](module, name)
    if way == "call":
        found(*arguments)
