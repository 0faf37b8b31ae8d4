"""The only module that prints: strings are escaped, so that a line stays one line, and parameters become flags."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from gan_export._lib.escape import Text, shown
from gan_export.cli.flags import as_flags

_MOST_LINE = 20_000  # characters
_MOST_CELL = 500


def say(line: object, *, error: bool = False) -> None:
    """Print one line, to stderr if `error`; control characters and direction marks are escaped."""
    print(shown(as_flags(str(line)), _MOST_LINE), file=sys.stderr if error else sys.stdout, flush=True)


def warn(line: object) -> None:
    """Print one line to stderr, in yellow on a terminal."""
    _print_styled("\033[33m", shown(as_flags(str(line)), _MOST_LINE))


def remark(line: object) -> None:
    """Print one line to stderr, dim on a terminal."""
    _print_styled("\033[2m", shown(str(line), _MOST_LINE))


def _print_styled(style: str, line: Text[Any] | str) -> None:
    begin, end = (style, "\033[0m") if sys.stderr.isatty() and "NO_COLOR" not in os.environ else ("", "")
    print(f"{begin}{line}{end}", file=sys.stderr, flush=True)


def suggest(*words: object, error: bool = False) -> None:
    """Print a command that may be run next, with its words quoted for a shell, to stderr if `error`."""
    stream = sys.stderr if error else sys.stdout
    print(f"  {shown(shlex.join(map(str, words)), _MOST_LINE)}", file=stream, flush=True)


def put(text: Text[Any]) -> None:
    """Print a complete text that another program may read."""
    sys.stdout.write(str(text))


def markdown(text: str) -> None:
    """Print Markdown of our own, laid out for the terminal's width."""
    from rich.console import Console
    from rich.markdown import Markdown

    Console(highlight=False).print(Markdown(text, hyperlinks=False))


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

    right: right-aligned columns; excluded: rows that are struck out; whole_first: the cells of the first column are
    not wrapped
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
    """Return text that rich doesn't read as markup."""
    from rich.text import Text as Plain

    return Plain(shown(as_flags(text), _MOST_CELL))
