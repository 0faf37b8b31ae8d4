"""os.fork() while models are open: it waits for running calls, and a child doesn't use its parent's threads."""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Protocol

_PATIENCE = 1.0  # seconds that os.fork() waits for running calls


class Forkable(Protocol):
    """Something whose calls hold `lock`, and that has threads, which a child process doesn't inherit."""

    lock: threading.RLock

    def after_fork_in_child(self, held: bool) -> None:
        """Drop what needs threads; `held`: no call was running."""


_OPEN: weakref.WeakSet[Forkable] = weakref.WeakSet()


def watch(model: Forkable) -> None:
    """Take care of `model` at every later fork, as long as it lives."""
    _OPEN.add(model)


if hasattr(os, "register_at_fork"):
    # For each running os.fork(), the models that were open, and whether their locks were taken, so that no call ran.
    _forks: list[list[tuple[Forkable, bool]]] = []
    _forking = threading.RLock()

    def _before_fork() -> None:
        _forking.acquire()
        end = time.monotonic() + _PATIENCE
        _forks.append([(m, m.lock.acquire(timeout=max(end - time.monotonic(), 0))) for m in list(_OPEN)])

    def _after_fork_in_parent() -> None:
        for model, held in _forks.pop():
            if held:
                model.lock.release()
        _forking.release()

    def _after_fork_in_child() -> None:
        for model, held in _forks.pop():
            model.after_fork_in_child(held)
        _forking.release()

    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
