"""Compute the contents hash of an export, which its manifest contains: over all files, with its own digits as zeros.

It shows that a file is as it was exported, or that someone changed it and computed the hash again: docs/security.md.
"""

from __future__ import annotations

import hashlib
import mmap
import re
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from gan_export.errors import GanExportError, printable
from gan_export.formats import manifest as manifests
from gan_export.formats.base import CHECKPOINT, Format, Patch
from gan_export.formats.manifest import UNSEALED, Manifest
from gan_export.formats.registry import FORMATS

_QUOTE = rb'(?:\\?"|&quot;)'  # in JSON, in JSON inside a JSON string, in XML
_DIGITS = re.compile(rb"content_sha256" + _QUOTE + rb":" + _QUOTE + rb"([0-9a-f]{64})" + _QUOTE)
_PIECE = 1 << 20


def sha256(path: Path) -> str:
    """Return the hash of the export at `path`, whatever digits its manifest contains.

    sha256 of, per file in the order of the names: the name's length (u64, little-endian), the name, the content's
    length (u64) and the content with the digits replaced by zeros, including their effect on checksums.  A name is
    relative to the folder; of a format of several files it is "" for `path` itself and the part after its stem for the
    others.
    Raises GanExportError unless the digits are there exactly once and no file is missing.
    """
    format = _format(path)
    holder = format.holder(path)
    patches = _patches(holder, format, UNSEALED.encode())
    digest = hashlib.sha256()
    for name, file in sorted(_files(path, format).items()):
        try:
            size = file.stat().st_size
            digest.update(struct.pack("<Q", len(name.encode())) + name.encode() + struct.pack("<Q", size))
            with open(file, "rb") as f:
                for piece in _pieces(f, patches if file == holder else ()):
                    digest.update(piece)
        except FileNotFoundError:
            raise GanExportError(f"{printable(str(file))} is missing, which {printable(path.name)} needs") from None
    return digest.hexdigest()


def seal(path: Path, manifest: Manifest) -> Manifest:
    """Write the hash of the complete export at `path` into its manifest, in place, and return that manifest."""
    digits = sha256(path)
    format = _format(path)
    holder = format.holder(path)
    patches = _patches(holder, format, digits.encode())
    with open(holder, "r+b") as f:
        for patch in patches:
            f.seek(patch.at)
            f.write(patch.data)
    return replace(manifest, content_sha256=digits)


def _format(path: Path) -> Format:
    kind = manifests.detect_format(path)
    if kind == CHECKPOINT:
        raise GanExportError(f"{printable(path.name)} is no export of a format that gan-export knows")
    return FORMATS.find(kind)


def _files(path: Path, format: Format) -> dict[str, Path]:
    """Return the files by the names that are hashed, none of which a user may choose."""
    if path.is_dir():
        return {f.relative_to(path).as_posix(): f for f in path.rglob("*") if f.is_file()}
    return {"": path, **format.hashed(path)}


def _pieces(f: BinaryIO, patches: tuple[Patch, ...]) -> Iterator[bytes]:
    """Yield the content with the patches applied."""
    for patch in sorted(patches):
        while f.tell() < patch.at and (piece := f.read(min(_PIECE, patch.at - f.tell()))):
            yield piece
        yield patch.data
        f.seek(len(patch.data), 1)
    while piece := f.read(_PIECE):
        yield piece


def _patches(holder: Path, format: Format, digits: bytes) -> tuple[Patch, ...]:
    """Return the patches that put these digits into the manifest: themselves, and the checksums that cover them."""
    try:
        with open(holder, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = [match.start(1) for match in _DIGITS.finditer(data)]
            if len(found) != 1:
                there = "no hash of its contents" if not found else "more than one hash of its contents"
                raise GanExportError(f"{printable(holder.name)}: its manifest has {there}; export it again")
            patch = Patch(found[0], digits)
            return patch, *format.sums(f, data, patch)
    except FileNotFoundError:
        raise GanExportError(f"{printable(str(holder))} is missing, which contains the manifest") from None
    except (ValueError, struct.error, zipfile.BadZipFile) as e:
        raise GanExportError(f"{printable(holder.name)} can't be hashed: {printable(str(e))}") from None
