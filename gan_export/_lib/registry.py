"""Named entries in a stated order, open to plugins."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from gan_export._lib import plugins
from gan_export.errors import GanExportError, printable


class Named(Protocol):
    """An entry: anything with a name."""

    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


class Registry(Generic[T]):
    """An ordered set of entries, found by name.

    Every access loads the installed plugins first, so that what they register is listed wherever the built-in
    entries are: in the library, the commands and worker processes.

    noun: what an entry is, in messages ("format", "runtime")
    """

    def __init__(self, noun: str, entries: Iterable[T]) -> None:
        self._noun = noun
        self._entries = list(entries)

    def __iter__(self) -> Iterator[T]:
        plugins.load()
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        plugins.load()
        return len(self._entries)

    @property
    def names(self) -> tuple[str, ...]:
        """The entries' names, in order."""
        return tuple(e.name for e in self)

    def find(self, name: str) -> T:
        """Return the entry called `name`.  Raises GanExportError, with the nearest name, if there is none."""
        for entry in self:
            if entry.name == name:
                return entry
        shown = printable(name, 60) or "the empty name"
        raise GanExportError(f"no {self._noun} is called {shown}; {hint(name, self.names)}")

    def add(self, entry: T, before: str | None = None) -> None:
        """Append `entry`, or insert it before the entry called `before`.

        Raises GanExportError if the name is taken or no entry is called `before`.
        """
        self.require_free(entry.name)
        names = [e.name for e in self._entries]
        if before is not None and before not in names:
            raise GanExportError(f"no {self._noun} is called {printable(before, 60)}; {hint(before, names)}")
        self._entries.insert(len(names) if before is None else names.index(before), entry)

    def require_free(self, name: str) -> None:
        """Raise GanExportError if an entry is called `name`."""
        if any(e.name == name for e in self._entries):
            article = "an" if self._noun[0] in "aeiou" else "a"
            raise GanExportError(f"{article} {self._noun} called {printable(name, 60)} is registered already")


def hint(name: str, choices: Iterable[str]) -> str:
    """Return "did you mean NEAREST?", or the list of choices if none is near."""
    choices = list(choices)
    near = difflib.get_close_matches(name, choices, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(choices)}"
