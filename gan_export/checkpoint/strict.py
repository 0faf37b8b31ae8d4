"""Check for `--strict`: refuse an unsettled reading, and names that run code if a program unpickles the file."""

from __future__ import annotations

from gan_export.checkpoint.checkpoint import Checkpoint, Source
from gan_export.checkpoint.containers.denylist import warning
from gan_export.errors import GanExportError, HostileFileError, Topic, linked, printable


@linked(Topic.UNSETTLED)
def check_strictly(checkpoint: Checkpoint) -> None:
    """Raise HostileFileError if the file has names that run code, GanExportError if its reading is unsettled."""
    refuse_code(checkpoint.source)
    if others := checkpoint.reading.alternatives:
        name = printable(checkpoint.source.name)
        first = f"{printable(others[0].title, 120)} ({printable(others[0].option, 100)})"
        more = f", or {len(others) - 1} more" if len(others) > 1 else ""
        raise GanExportError(f"{name}: it could also be {first}{more}; strict=True needs a flag that settles it")
    if unsettled := checkpoint.reading.unsettled:
        open_still = "; ".join(f"{a.what} ({a.value} or {' or '.join(a.instead)}: {a.option})" for a in unsettled)
        name = printable(checkpoint.source.name)
        raise GanExportError(
            f"{name}: not settled: {printable(open_still, 600)}; strict=True needs the flags that settle it"
        )


def refuse_code(source: Source) -> None:
    """Raise HostileFileError if the file has names that run code."""
    if source.code:
        raise HostileFileError(f"{printable(source.name)}: {warning(source.code)}; strict=True refuses it")
