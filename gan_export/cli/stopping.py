"""Ctrl-C in a long run: the first one ends it cleanly after the current step, the second one at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from gan_export.cli.say import say


class Stop:
    """A flag that the first Ctrl-C or SIGTERM sets and the loop reads after each step.  A second one ends at once."""

    def __init__(self) -> None:
        self.interrupted = False

    def __call__(self) -> bool:
        return self.interrupted

    def ask(self, *_: object) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        say("stopping after this step; press Ctrl-C again to stop at once", error=True)


@contextmanager
def interruptible() -> Iterator[Stop]:
    stop = Stop()
    before = {s: signal.signal(s, stop.ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
