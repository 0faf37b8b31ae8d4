"""What `--strict` refuses: an unsettled reading, and names that run code in a program that unpickles the file."""

from __future__ import annotations

from gan_export.checkpoint.names import warning
from gan_export.checkpoint.types import Checkpoint
from gan_export.errors import GanExportError, HostileFileError, printable


def check_strictly(checkpoint: Checkpoint) -> None:
    """Raises HostileFileError if the file names what runs code, GanExportError if it could be read in another way."""
    name = printable(checkpoint.source.name)
    if code := checkpoint.source.code:
        raise HostileFileError(f"{name}: {warning(code)}; --strict refuses it")
    if others := checkpoint.reading.alternatives:
        first = f"{printable(others[0].title, 120)} ({printable(others[0].flag, 100)})"
        more = f", or {len(others) - 1} more" if len(others) > 1 else ""
        raise GanExportError(f"{name}: it could also be {first}{more}; --strict wants a flag that settles it")
