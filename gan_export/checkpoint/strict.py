"""What `--strict` refuses: an unsettled reading, and names that run code in a program that unpickles the file."""

from __future__ import annotations

from gan_export.checkpoint.checkpoint import Checkpoint, Source
from gan_export.checkpoint.containers.denylist import warning
from gan_export.errors import GanExportError, HostileFileError, printable


def check_strictly(checkpoint: Checkpoint) -> None:
    """Raises HostileFileError if the file names what runs code, GanExportError if it could be read in another way."""
    refuse_code(checkpoint.source)
    if others := checkpoint.reading.alternatives:
        name = printable(checkpoint.source.name)
        first = f"{printable(others[0].title, 120)} ({printable(others[0].flag, 100)})"
        more = f", or {len(others) - 1} more" if len(others) > 1 else ""
        raise GanExportError(f"{name}: it could also be {first}{more}; --strict wants a flag that settles it")


def refuse_code(source: Source) -> None:
    """Raises HostileFileError if the file names what runs code."""
    if source.code:
        raise HostileFileError(f"{printable(source.name)}: {warning(source.code)}; --strict refuses it")
