"""The hash of an export's own contents, which its manifest carries: over all files, its own digits taken as zeros.

It shows that a file is as it was exported, or as someone wrote it who hashed it again: docs/security.md.
"""

from __future__ import annotations

import hashlib
import mmap
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gan_export.errors import GanExportError, printable
from gan_export.formats import gan_header
from gan_export.formats import manifest as manifests
from gan_export.formats.manifest import UNSEALED, FormatName, Manifest
from gan_export.formats.protobuf import check_external_data

_QUOTE = rb'(?:\\?"|&quot;)'  # in JSON, in JSON as a string of JSON, in XML
_DIGITS = re.compile(rb"content_sha256" + _QUOTE + rb":" + _QUOTE + rb"([0-9a-f]{64})" + _QUOTE)
_ZIPPED = ("torchscript", "pt2", "aoti")
_PIECE = 1 << 20
_GAN_DATA = 40  # in the header: the offset of the data, which the first checksum ends before


class Patch(NamedTuple):
    """Bytes to stand at an offset of the file that holds the manifest."""

    at: int
    data: bytes


def sha256(path: Path) -> str:
    """The hash of the export at `path`, whichever digits its manifest carries.

    sha256 of, per file in the order of the names: the name's length (u64, little-endian), the name, the content's
    length (u64) and the content as it would be if the digits were zeros, checksums included.  A name is relative to
    the folder; of a format of several files it is "" for `path` itself and what follows its stem for the others.
    Raises GanExportError if the digits aren't there once, or a file is missing.
    """
    kind = manifests.detect_format(path)
    holder = _holder(path, kind)
    patches = _patches(holder, kind, UNSEALED.encode())
    digest = hashlib.sha256()
    for name, file in sorted(_files(path, kind).items()):
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
    """Write the hash of the complete export at `path` into its manifest, in place, and give that manifest."""
    digits = sha256(path)
    holder = _holder(path, kind := manifests.detect_format(path))
    patches = _patches(holder, kind, digits.encode())
    with open(holder, "r+b") as f:
        for patch in patches:
            f.seek(patch.at)
            f.write(patch.data)
    return replace(manifest, content_sha256=digits)


def _holder(path: Path, kind: FormatName) -> Path:
    match kind:
        case "c":
            return path / manifests.C_MANIFEST
        case "coreml":
            return path / manifests.COREML_MODEL
        case "ncnn":
            return manifests.manifest_path(path)
    return path


def _files(path: Path, kind: FormatName) -> dict[str, Path]:
    """By the names that are hashed: none that a user may choose."""
    if path.is_dir():
        return {f.relative_to(path).as_posix(): f for f in path.rglob("*") if f.is_file()}
    found = {"": path}
    if kind == "onnx":
        check_external_data(path)
        return found | {name: path.parent / name for name in manifests.files(path) if name != path.name}
    if kind in ("openvino", "ncnn"):
        found[".bin"] = path.with_suffix(".bin")
    if kind == "ncnn":
        found[".manifest.json"] = manifests.manifest_path(path)
    return found


def _pieces(f: BinaryIO, patches: tuple[Patch, ...]) -> Iterator[bytes]:
    """The content with the patches in place."""
    for patch in sorted(patches):
        while f.tell() < patch.at and (piece := f.read(min(_PIECE, patch.at - f.tell()))):
            yield piece
        yield patch.data
        f.seek(len(patch.data), 1)
    while piece := f.read(_PIECE):
        yield piece


def _patches(holder: Path, kind: FormatName, digits: bytes) -> tuple[Patch, ...]:
    """What makes the manifest carry these digits: themselves, and the checksums that cover them."""
    try:
        with open(holder, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = [match.start(1) for match in _DIGITS.finditer(data)]
            if len(found) != 1:
                there = "no hash of its contents" if not found else "more than one hash of its contents"
                raise GanExportError(f"{printable(holder.name)}: its manifest has {there}; export it again")
            patch = Patch(found[0], digits)
            if kind in _ZIPPED:
                return patch, *_zip_sums(f, data, patch)
            if kind == "gan":
                return patch, _gan_sums(data, patch)
            return (patch,)
    except FileNotFoundError:
        raise GanExportError(f"{printable(str(holder))} is missing, which holds the manifest") from None
    except (ValueError, struct.error, zipfile.BadZipFile) as e:
        raise GanExportError(f"{printable(holder.name)} can't be hashed: {printable(str(e))}") from None


def _gan_sums(data: mmap.mmap, patch: Patch) -> Patch:
    """The header's checksum of what lies before the data, changed by what the patch changes."""
    (end,) = struct.unpack_from("<Q", data, _GAN_DATA)
    if end > len(data):
        raise ValueError("its data lies outside the file")
    return Patch(*gan_header.patched_sums(data[:end], patch.at, patch.data, end))


def _zip_sums(f: BinaryIO, data: mmap.mmap, patch: Patch) -> Iterator[Patch]:
    """The CRC-32 of the archive's entry that holds the patch, at each place where it stands."""
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
            if entry.flag_bits & 8:  # it stands after the content, with or without a signature
                yield Patch(end + (4 if data[end : end + 4] == b"PK\x07\x08" else 0), crc)
            else:
                yield Patch(entry.header_offset + 14, crc)
            return
        at += 46 + name + extra + comment
    raise ValueError("its manifest is in no entry of the archive")
