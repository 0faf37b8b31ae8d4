"""Recognize that a runtime ran out of memory: each says so in words of its own, by an exception of a general type."""

from __future__ import annotations

from gan_export.errors import GanExportError

_WORDS = ("DefaultCPUAllocator", "Failed to allocate memory", "bad_alloc", "bad allocation", "not enough memory")


def check(error: Exception) -> None:
    """Raise GanExportError if `error` says that there is no memory."""
    text = str(error)
    if any(word in text for word in _WORDS):
        raise GanExportError("out of memory; use a smaller batch") from None
