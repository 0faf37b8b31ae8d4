"""A watch on lookups and calls in this process, beside the audit events of `watch`.

The event `import` occurs once per module and process, so the lookup of a module that an honest job has loaded before
would be missed.  Therefore, two more events are recorded.  A lookup: a module of the corpus that is requested by a name
at run time, loaded or not (an `import` statement names its module itself).  A call: of a name of the corpus, in Python
with an argument of the corpus, in C with any, because its arguments can't be seen.  Objects made by calling a type
written in C, such as operator.methodcaller, do nothing by themselves, and have no event.
"""

from __future__ import annotations

import builtins
import dis
import importlib
import json
import os
import sys
import threading
from types import CodeType, FrameType, FunctionType
from typing import Any

from tests.security.calls import CALLS

_IMPORT = dis.opmap["IMPORT_NAME"]
_MODULES = frozenset(module for module, _, _ in CALLS)


class Calls:
    """The objects that the corpus names, of the modules that this process has loaded."""

    def __init__(self) -> None:
        self._in_python: dict[CodeType, list[tuple[str, tuple[str, ...]]]] = {}
        self._in_c: dict[Any, str] = {}

    def refresh(self) -> None:
        """Add what has been loaded since the last call."""
        for module, name, args in CALLS:
            found: Any = sys.modules.get(module)
            for part in name.split("."):
                found = getattr(found, part, None)
            title = f"{module}.{name}"
            for each in (found, getattr(found, "__init__", None), getattr(found, "__new__", None)):
                if isinstance(each, FunctionType):
                    entries = self._in_python.setdefault(each.__code__, [])
                    if (title, args) not in entries:
                        entries.append((title, args))
            if found is not None and type(found).__name__ == "builtin_function_or_method":
                self._in_c[found] = title

    def profile(self, frame: FrameType, event: str, arg: Any) -> None:
        """A callback for sys.setprofile."""
        if event == "call":
            for title, args in self._in_python.get(frame.f_code, ()):
                if not args or any(a in _given(frame) for a in args):
                    _write("called", title)
        elif event == "c_call":
            try:
                title = self._in_c.get(arg)
            except TypeError:  # a method of an unhashable object
                return
            if title is not None:
                _write("called", title)


def install(*, calls_too: bool) -> Calls:
    """Watch this process from now on, including its threads; watching calls takes three times as long."""
    plain_import = builtins.__import__
    plain_find = importlib.import_module

    def looking(name: str, *rest: Any, **named: Any) -> Any:
        caller = sys._getframe(1)
        if name in _MODULES and caller.f_code.co_code[caller.f_lasti] != _IMPORT:
            _write("lookup", _where(name, caller))
        return plain_import(name, *rest, **named)

    def finding(name: str, package: str | None = None) -> Any:
        if name in _MODULES:
            _write("lookup", _where(name, sys._getframe(1)))
        return plain_find(name, package)

    builtins.__import__ = looking
    importlib.import_module = finding
    calls = Calls()
    if not calls_too:
        return calls
    threading.setprofile(calls.profile)
    sys.setprofile(calls.profile)
    return calls


def _given(frame: FrameType) -> list[Any]:
    """Return the arguments of a call that has just begun."""
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount
    values = [frame.f_locals.get(name) for name in code.co_varnames[: count + 2]]
    return [v for value in values for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, str)]


def _where(name: str, caller: FrameType) -> list[str]:
    return [name, f"{caller.f_globals.get('__name__')}.{caller.f_code.co_qualname}"]


def _write(event: str, what: Any) -> None:
    line = json.dumps([event, what]) + "\n"
    handle = os.open(os.environ["GAN_WATCH"], os.O_WRONLY | os.O_APPEND)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)
