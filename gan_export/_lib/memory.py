"""Return memory that Python has freed to the system, for other processes that need it now."""

from __future__ import annotations

import contextlib
import ctypes
import gc


def release_free_memory() -> None:
    """Collect garbage, and let glibc return its free memory, which other allocators return themselves."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError, TypeError):  # no glibc; on Windows, no library without a name
        ctypes.CDLL(None).malloc_trim(0)
