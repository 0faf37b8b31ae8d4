"""A status line about the current step of an export, and the report of a parity that fails in it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from gan_export.cli import tables

if TYPE_CHECKING:
    from gan_export.pipeline.files import Outcome


class Steps:
    """A status line about the current step; call `hide` before printing."""

    def __init__(self) -> None:
        from rich.console import Console

        self._status = Console(stderr=True).status("")

    def __call__(self, what: str) -> None:
        self._status.update(_status(what))
        self._status.start()

    def after_a_second(self) -> Callable[[str], None]:
        """Return what shows a step unless everything ends within a second."""
        started = time.monotonic()
        return lambda what: self(what) if time.monotonic() - started > 1.0 else None

    def hide(self) -> None:
        self._status.stop()


@contextlib.contextmanager
def steps() -> Iterator[Steps]:
    """Show a status line on standard error; print the report of a failed parity before its error is raised again."""
    from gan_export.verification.compare import ParityError

    status = Steps()
    try:
        yield status
    except ParityError as e:
        status.hide()
        tables.print_report(e.report)
        raise
    finally:
        status.hide()


def shown(outcomes: Iterable[Outcome], status: Steps) -> Iterator[Outcome]:
    """Yield the outcomes; print the report of each failed parity."""
    from gan_export.verification.compare import ParityError

    for outcome in outcomes:
        status.hide()
        if isinstance(outcome.error, ParityError):
            tables.print_report(outcome.error.report)
        yield outcome


def _status(what: str) -> Any:
    """Return text that rich doesn't read as markup."""
    from rich.text import Text

    from gan_export.errors import printable

    return Text(f"{printable(what)} ...")
