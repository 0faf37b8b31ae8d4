"""Which exports are programs: they can't be used without running code that lies in them."""

from __future__ import annotations

from pathlib import Path

from gan_export.errors import GanExportError, printable
from gan_export.formats import content
from gan_export.formats import manifest as manifests
from gan_export.formats.base import CHECKPOINT
from gan_export.formats.registry import FORMATS


def note(path: Path) -> str:
    """Return one line for a program that isn't known to be gan-export's, before it is run; "" for any other file.

    A file whose manifest is damaged gets none: the command refuses it, and runs nothing.
    """
    kind = manifests.detect_format(path)
    program = "" if kind == CHECKPOINT else FORMATS.find(kind).program
    try:
        if not program or is_as_exported(path, kind):
            return ""
    except (GanExportError, OSError):
        return ""
    return (
        f"{printable(str(path))} is {program}: it runs code of its own, and is not as gan-export writes one; "
        "run none from a stranger"
    )


def is_as_exported(path: Path, kind: str) -> bool:
    """Whether the contents are those that the file's manifest was written for.

    A forger can write both; this tells an export that was altered, or has none, from one as it was written.
    Raises GanExportError if the manifest can't be read.
    """
    manifest = manifests.read_manifest(path, kind)
    if manifest is None:
        return False
    try:
        return manifest.content_sha256 == content.sha256(path)
    except GanExportError:
        return False
