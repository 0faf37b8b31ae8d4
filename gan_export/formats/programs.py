"""Identify exports that are programs: using them runs code that they contain."""

from __future__ import annotations

from pathlib import Path

from gan_export.errors import GanExportError, printable
from gan_export.formats import content
from gan_export.formats import manifest as manifests
from gan_export.formats.base import CHECKPOINT
from gan_export.formats.registry import FORMATS


def note(path: Path) -> str:
    """Return a warning of one line for a program that isn't verified to be gan-export's; "" for any other file.

    A file whose manifest is damaged gets no warning: the command refuses it, and runs nothing.
    """
    kind = manifests.detect_format(path)
    program = "" if kind == CHECKPOINT else FORMATS.find(kind).program
    try:
        if not program or is_as_exported(path, kind):
            return ""
    except (GanExportError, OSError):
        return ""
    return (
        f"{printable(str(path))} is {program}: it runs code of its own, and is not an unchanged export of gan-export; "
        "don't run one from a stranger"
    )


def is_as_exported(path: Path, kind: str) -> bool:
    """Return whether the contents are those that the file's manifest was written for.

    A forger can write both; this distinguishes an export that was changed, or has none, from an unchanged one.
    Raises GanExportError if the manifest can't be read.
    """
    manifest = manifests.read_manifest(path, kind)
    if manifest is None:
        return False
    try:
        return manifest.content_sha256 == content.sha256(path)
    except GanExportError:
        return False
