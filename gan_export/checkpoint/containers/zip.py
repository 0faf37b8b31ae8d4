"""Read the entries of a zip archive strictly.

PyTorch stores its entries uncompressed, each name once, without overlaps.  Any other archive is refused before its
entries are read, so that none expands, and no two readers can disagree about one.
Source: PKWARE APPNOTE 6.3.10, sections 4.3.6 to 4.3.16 and 4.5.3 (zip64).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from gan_export._lib.budget import Budget
from gan_export.errors import GanExportError, printable

MAX_ENTRIES = 200_000
_ENTRY, _HELD = 12, 300  # steps and bytes per entry; its name is counted with the directory
_END, _END64, _LOCATOR64, _CENTRAL, _LOCAL = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02", b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in the archive: `size` bytes at `start`."""

    name: str
    header: int
    start: int
    size: int
    crc: int


class Archive:
    """A zip archive, with its entries by name.  Raises GanExportError unless PyTorch could have written it."""

    def __init__(self, data: memoryview, budget: Budget) -> None:
        self._data = data
        self.entries: dict[str, Entry] = {}
        self.compressed: list[str] = []  # names only; the content of such an archive is refused
        try:
            self._read_directory(budget)
        except struct.error:
            raise _damaged("its directory ends early") from None

    def bytes_of(self, name: str) -> memoryview:
        """Return the bytes of an entry, without verifying its checksum."""
        entry = self.entries[name]
        return self._data[entry.start : entry.start + entry.size]

    def checked(self, name: str) -> memoryview:
        """Return the bytes of an entry.  Raises GanExportError if they don't match their checksum.

        A checksum of 0 is not verified: PyTorch writes it if checksums are turned off (set_crc32_options).
        """
        raw, crc = self.bytes_of(name), self.entries[name].crc
        if crc and zlib.crc32(raw) != crc:
            raise _damaged(f"{printable(name, 60)} doesn't match its checksum")
        return raw

    def refuse_tricks(self) -> None:
        """Raise GanExportError for compressed or overlapping entries, which PyTorch never writes."""
        if self.compressed:
            raise GanExportError(
                f"a zip archive with compressed entries ({printable(self.compressed[0], 60)}), which PyTorch never "
                "writes; unpack it, or save the checkpoint again with torch.save"
            )
        behind = 0
        for entry in sorted(self.entries.values(), key=lambda e: e.header):
            if entry.header < behind:
                raise _damaged(f"the entry {printable(entry.name, 60)} overlaps another")
            behind = entry.start + entry.size

    def _read_directory(self, budget: Budget) -> None:
        data = self._data
        count, size, start, limit = self._end_record()
        if count > MAX_ENTRIES:
            raise GanExportError(f"a zip archive of {count:,} entries, more than any checkpoint has")
        if start + size > limit:
            raise _damaged("its directory is beyond its end")
        budget.grant(size)
        budget.spend(_ENTRY * count)
        budget.hold(_HELD * count + 8 * size)
        at = start
        for _ in range(count):
            if at + 46 > start + size or data[at : at + 4] != _CENTRAL:
                raise _damaged("its directory is broken")
            (flags, method) = struct.unpack_from("<HH", data, at + 8)
            crc, packed, plain, n_name, n_extra, n_comment = struct.unpack_from("<IIIHHH", data, at + 16)
            (header,) = struct.unpack_from("<I", data, at + 42)
            name = _decode(bytes(data[at + 46 : at + 46 + n_name]))
            extra = data[at + 46 + n_name : at + 46 + n_name + n_extra]
            plain, packed, header = _zip64(extra, plain, packed, header)
            at += 46 + n_name + n_extra + n_comment
            if name in self.entries:
                raise _damaged(f"two entries are called {printable(name, 60)}")
            if flags & 0x2041:
                raise GanExportError("an encrypted zip archive; unpack it first")
            begin = self._local(name, header, method, start)
            if method != 0 or packed != plain:
                self.compressed.append(name)
                plain = packed
            if begin + plain > start:
                raise _damaged(f"the entry {printable(name, 60)} claims {plain:,} bytes that the file doesn't have")
            self.entries[name] = Entry(name, header, begin, plain, crc)

    def _local(self, name: str, header: int, method: int, limit: int) -> int:
        """Return the start of an entry's bytes, after comparing its own header with the directory."""
        data = self._data
        if header + 30 > limit or data[header : header + 4] != _LOCAL:
            raise _damaged(f"the entry {printable(name, 60)} has no header where it should")
        (own_method,) = struct.unpack_from("<H", data, header + 8)
        n_name, n_extra = struct.unpack_from("<HH", data, header + 26)
        if own_method != method or _decode(bytes(data[header + 30 : header + 30 + n_name])) != name:
            raise _damaged(f"the entry {printable(name, 60)} has another name in its own header")
        return int(header + 30 + n_name + n_extra)

    def _end_record(self) -> tuple[int, int, int, int]:
        """Return (entries, bytes of the directory, its start, end of the bytes before the end record)."""
        data = self._data
        tail = bytes(data[max(0, len(data) - 65_557) :])
        found = tail.rfind(_END)
        if found < 0:
            raise GanExportError("cut off: a zip archive without its end; fetch the file again")
        at = len(data) - len(tail) + found
        disk, first_disk, here, count, size, start, comment = struct.unpack_from("<HHHHIIH", data, at + 4)
        if at + 22 + comment != len(data):
            raise _damaged("bytes are missing or left over at its end")
        limit = at
        if 0xFFFF in (disk, here, count) or 0xFFFFFFFF in (size, start):
            if at < 20 or data[at - 20 : at - 16] != _LOCATOR64:
                raise _damaged("its end record is broken")
            (at64,) = struct.unpack_from("<Q", data, at - 12)
            if at64 + 56 > at or data[at64 : at64 + 4] != _END64:
                raise _damaged("its end record is broken")
            disk, first_disk, here, count, size, start = struct.unpack_from("<IIQQQQ", data, at64 + 16)
            limit = at64
        if disk or first_disk or here != count:
            raise _damaged("it is a part of a split archive")
        return count, size, start, limit


def _zip64(extra: memoryview, plain: int, packed: int, header: int) -> tuple[int, int, int]:
    """Return the three values, each that is 2^32 - 1 replaced from the zip64 field, in the standard's order."""
    values = [plain, packed, header]
    if 0xFFFFFFFF not in values:
        return plain, packed, header
    at = 0
    while at + 4 <= len(extra):
        tag, size = struct.unpack_from("<HH", extra, at)
        if tag == 1:
            field = at + 4
            for i, value in enumerate(values):
                if value == 0xFFFFFFFF:
                    if field + 8 > at + 4 + size:
                        raise _damaged("a zip64 field is too short")
                    (values[i],) = struct.unpack_from("<Q", extra, field)
                    field += 8
            return values[0], values[1], values[2]
        at += 4 + size
    return plain, packed, header


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _damaged(why: str) -> GanExportError:
    return GanExportError(f"a damaged or forged zip archive: {why}; fetch the file again")
