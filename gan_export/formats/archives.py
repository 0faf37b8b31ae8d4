"""Archives that torch writes: TorchScript, `.pt2` and AOTInductor, each with the manifest as an extra file."""

from __future__ import annotations

import mmap
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gan_export.errors import GanExportError, first_line
from gan_export.formats.base import KEY, LARGEST_TEXT, Format, Patch
from gan_export.formats.bounds import FLOAT32
from gan_export.formats.probe import ZIP_DAMAGE, Probe


def read_entry(path: Path, suffix: str) -> bytes | None:
    """Return the content of the first entry whose name ends in `suffix`; None if there is none.

    Raises GanExportError for a damaged archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(suffix) and entry.file_size < LARGEST_TEXT:
                    with archive.open(entry) as inside:
                        return inside.read(LARGEST_TEXT)
    except ZIP_DAMAGE as e:
        raise GanExportError(
            f"damaged, its manifest can't be read: {first_line(e)}; export or fetch it again"
        ) from None
    return None


def _is_torchscript(probe: Probe) -> bool:
    names = probe.zip_names
    return any(n.endswith("/constants.pkl") for n in names) and any("/code/" in n for n in names)


def _is_aoti(probe: Probe) -> bool:
    return any("/data/aotinductor/" in n for n in probe.zip_names)


def _is_pt2(probe: Probe) -> bool:
    return any(n.endswith("/archive_format") for n in probe.zip_names)


def _manifest(path: Path) -> bytes | None:
    return read_entry(path, f"/extra/{KEY}")


def zip_sums(f: BinaryIO, data: mmap.mmap, patch: Patch) -> Iterator[Patch]:
    """Yield the updated CRC-32 of the entry that contains the patch, for each place that stores it."""
    with zipfile.ZipFile(f) as archive:
        at = archive.start_dir
        entries = archive.infolist()
    for entry in entries:
        signature, name, extra, comment = struct.unpack_from("<4s24x3H", data, at)
        if signature != b"PK\x01\x02":
            raise ValueError("its directory is damaged")
        (local_name, local_extra) = struct.unpack_from("<2H", data, entry.header_offset + 26)
        begin = entry.header_offset + 30 + local_name + local_extra
        end = begin + entry.file_size
        if begin <= patch.at and patch.at + len(patch.data) <= end:
            if entry.compress_type != zipfile.ZIP_STORED or end > len(data):
                raise ValueError("its manifest is compressed")
            content = bytearray(data[begin:end])
            content[patch.at - begin : patch.at - begin + len(patch.data)] = patch.data
            crc = struct.pack("<I", zlib.crc32(content))
            yield Patch(at + 16, crc)
            if entry.flag_bits & 8:  # the CRC follows the content, with or without a signature
                yield Patch(end + (4 if data[end : end + 4] == b"PK\x07\x08" else 0), crc)
            else:
                yield Patch(entry.header_offset + 14, crc)
            return
        at += 46 + name + extra + comment
    raise ValueError("its manifest is in no entry of the archive")


_LINES = {"fp32": FLOAT32}
TORCHSCRIPT = Format(
    "torchscript", "torchscript", _is_torchscript, _manifest, _LINES, program="TorchScript, a program", sums=zip_sums
)
AOTI = Format(
    "aoti", "aoti", _is_aoti, _manifest, _LINES, program="an AOTInductor package, a compiled library", sums=zip_sums
)
PT2 = Format("pt2", "pt2", _is_pt2, _manifest, _LINES, sums=zip_sums)
