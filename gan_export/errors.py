"""Exceptions.  Every message has what is wrong, where, and what to do next, on one line."""

from __future__ import annotations


class GanExportError(Exception):
    """Bad input or an unusable environment; the commands print it on one line and exit with 2."""

    exit_code = 2


class HostileFileError(GanExportError):
    """A file that contains code, or names that no checkpoint needs."""


class NotRecognizedError(GanExportError):
    """A readable checkpoint that no architecture fits.  closest: names of the nearest architectures, nearest first."""

    def __init__(self, message: str, closest: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.closest = closest


class UnusedOptionError(GanExportError):
    """An option that decides nothing in the generator that is read."""


class UnavailableError(GanExportError):
    """An optional package, device or compiler that is missing; the message has the install line."""


class CheckFailedError(GanExportError):
    """A check ran and failed: parity, verification, a benchmark's bound.  The commands exit with 1."""

    exit_code = 1


def first_line(error: BaseException, limit: int = 300) -> str:
    """Return the first line of a library's error, safe to print, or its type if it has no message."""
    return _line(error, 0, limit)


def last_line(error: BaseException, limit: int = 300) -> str:
    """Return the last line of a library's error, for libraries that print a stack first."""
    return _line(error, -1, limit)


def _line(error: BaseException, number: int, limit: int) -> str:
    text = str(error)
    text = text[: 100 * limit] if number == 0 else text[-100 * limit :]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return printable(lines[number] if lines else type(error).__name__, limit)


def printable(text: str, limit: int = 200) -> str:
    """Return `text` safe to print: control characters escaped, at most `limit` characters.

    Key names and file names come from strangers, and a terminal escape in one must not reach a terminal.  The text is
    cut before it is escaped, so that a name of 100 MB costs as much as one of `limit` characters.
    """
    cut = text[: limit + 1]
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)
    return escaped if len(escaped) <= limit else escaped[: limit - 1] + "…"
