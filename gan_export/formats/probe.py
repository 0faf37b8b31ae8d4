"""Read the parts of a file that detecting its format needs, each part once for all formats."""

from __future__ import annotations

import struct
import zipfile
import zlib
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

HEAD = 64  # bytes
_LARGEST_DIRECTORY = 1 << 22  # bytes of a zip archive's directory, for 50,000 entries; an export has a hundred
# Exceptions of zipfile for damage: an unknown version or method, a password, a checksum, its own structs.
ZIP_DAMAGE = (
    zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError, OverflowError,
    struct.error, LookupError,
)  # fmt: skip


class Probe:
    """A file or folder whose format is to be detected."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def head(self) -> bytes:
        """The first HEAD bytes; empty for a folder."""
        if not self.path.is_file():
            return b""
        with open(self.path, "rb") as f:
            return f.read(HEAD)

    @cached_property
    def zip_names(self) -> frozenset[str]:
        """The names in a zip archive with few entries; empty for any other file, and for an archive with many.

        An archive with many entries is a checkpoint, whose reader is stricter.  That reader,
        `checkpoint.containers.zip`, is on a higher layer than this one.  The names found here only decide what reads
        the file next: `runtimes.pt2_check`, which is strict again, or the runtime of a format that is a program anyway.
        """
        if not self.head.startswith(b"PK\x03\x04"):
            return frozenset()
        try:
            with open(self.path, "rb") as f:
                if _directory_size(f) > _LARGEST_DIRECTORY:
                    return frozenset()
                with zipfile.ZipFile(f) as archive:
                    return frozenset(archive.namelist())
        except ZIP_DAMAGE:
            return frozenset()


def _directory_size(f: BinaryIO) -> int:
    """Return the bytes of an archive's directory, as its end record states them (APPNOTE 6.3.10, 4.3.14 to 4.3.16)."""
    length = f.seek(0, 2)
    f.seek(max(0, length - 65_557))
    tail = f.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0:
        raise zipfile.BadZipFile("no end")
    (size,) = struct.unpack_from("<I", tail, at + 12)
    if at < 20 or tail[at - 20 : at - 16] != b"PK\6\7":
        return int(size)
    (where,) = struct.unpack_from("<Q", tail, at - 12)
    f.seek(min(where, length) + 40)
    return max(size if size < 0xFFFFFFFF else 0, int.from_bytes(f.read(8), "little"))
