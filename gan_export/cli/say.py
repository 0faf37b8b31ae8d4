"""The one place where the commands print: whatever a string in it says, a line stays a line of plain characters."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from gan_export._lib.escape import Text, shown

_MOST_LINE = 20_000  # characters
_MOST_CELL = 500


def say(line: object, *, error: bool = False) -> None:
    """Print one line, to stderr if `error`; control characters and marks of direction in it are shown as escapes."""
    print(shown(str(line), _MOST_LINE), file=sys.stderr if error else sys.stdout, flush=True)


def put(text: Text[Any]) -> None:
    """Print a whole text that a program may read on."""
    sys.stdout.write(str(text))


def table(
    head: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    *,
    heading: str | None = None,
    right: frozenset[str] = frozenset(),
    excluded: Sequence[bool] = (),
    width: int | None = None,
    whole_first: bool = False,
) -> None:
    """Print a table.

    right: columns whose cells stand at the right; struck: rows that are struck out; whole_first: the first column's
    cells stay on one line
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    lines = Table(
        title=None if heading is None else _cell(heading),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_header=any(head),
        show_edge=heading is not None or whole_first,
        pad_edge=False,
    )
    for i, name in enumerate(head):
        justify: Any = "right" if name in right else "left"
        lines.add_column(_cell(name), justify=justify, overflow="fold", no_wrap=whole_first and i == 0)
    for i, row in enumerate(rows):
        lines.add_row(*map(_cell, row), style="strike" if excluded and excluded[i] else None)
    Console(highlight=False, width=width).print(lines)


def _cell(text: str) -> Any:
    """As rich takes text that is no markup."""
    from rich.text import Text as Plain

    return Plain(shown(text, _MOST_CELL))
