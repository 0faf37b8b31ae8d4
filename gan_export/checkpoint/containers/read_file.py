"""Read the bytes of a regular file once, so that the hashed bytes are the decoded ones."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from gan_export.errors import GanExportError, printable

MAX_BYTES = 4 << 30  # training states of supported generators have a few hundred MB
_PIECE = 1 << 24
_NEW = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class FileBytes:
    """The content of a file in memory.  name: without its folder."""

    name: str
    sha256: str
    data: memoryview


def read_file(path: Path, wanted: str = "a checkpoint") -> FileBytes:
    """Read the file through one descriptor.

    Raises GanExportError for a file that is missing, unreadable, not regular (a FIFO or a device is never read), larger
    than 4 GiB, or that changes while it is read.
    """
    shown = printable(str(path))
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise GanExportError(f"{shown} is {_kind(path.stat().st_mode)}, not {wanted}; name a file")
        # A FIFO that replaced the file in the meantime must not block open().
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb", buffering=0) as file:
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode):
                raise GanExportError(f"{shown} is {_kind(before.st_mode)}, not {wanted}; name a file")
            if before.st_size > MAX_BYTES:
                raise GanExportError(
                    f"{shown} has {before.st_size / 2**30:.1f} GiB, more than any supported generator; save only its "
                    "state_dict"
                )
            buffer = bytearray(before.st_size)
            view = memoryview(buffer)
            count, digest = _fill(file, view)
            steady = count == len(buffer) and not file.read(1)
            # Times have steps of milliseconds, and a second write in a step doesn't show: read such a new file again.
            if steady and abs(time.time() - before.st_mtime) < _NEW:
                file.seek(0)
                steady = _hash(file, len(buffer)) == digest
            after = os.fstat(handle)
    except OSError as e:
        raise GanExportError(f"{shown} can't be read: {e.strerror or e}; check the path and its rights") from None
    except ValueError:
        raise GanExportError(f"{shown} is not a path") from None
    except MemoryError:
        raise GanExportError(f"{shown} doesn't fit in memory; save only the generator's state_dict") from None
    if not steady or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise GanExportError(f"{shown} changed while it was read; wait until it is written, or read a copy")
    return FileBytes(path.name, digest, view.toreadonly())


def _fill(file: io.FileIO, view: memoryview) -> tuple[int, str]:
    """Fill `view` from the file; return (number of bytes read, their sha256)."""
    digest, at = hashlib.sha256(), 0
    while at < len(view) and (count := file.readinto(view[at : at + _PIECE])):
        digest.update(view[at : at + count])
        at += count
    return at, digest.hexdigest()


def _hash(file: io.FileIO, size: int) -> str:
    """Return the sha256 of the next `size` bytes, or of fewer if the file ends."""
    digest = hashlib.sha256()
    while size > 0 and (piece := file.read(min(size, _PIECE))):
        digest.update(piece)
        size -= len(piece)
    return digest.hexdigest()


def _kind(mode: int) -> str:
    for test, name in (
        (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
    ):  # fmt: skip
        if test(mode):
            return name
    return "not a regular file"
