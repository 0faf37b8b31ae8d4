"""Safetensors: the manifest and the spec of the layers in its metadata."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gan_export._lib.budget import Budget, BudgetError, read_json
from gan_export.errors import GanExportError
from gan_export.formats.base import KEY, LARGEST_TEXT, Format, parsed
from gan_export.formats.bounds import FLOAT32
from gan_export.formats.probe import Probe
from gan_export.graph.spec import SPEC_KEY, GeneratorSpec

if TYPE_CHECKING:
    from gan_export.formats.manifest import Manifest


def _detect(probe: Probe) -> bool:
    return probe.head[8:9] == b"{" and not probe.head.startswith(b"PK\x03\x04") and bool(_metadata(probe.path).get(KEY))


def _manifest(path: Path) -> bytes | None:
    return _metadata(path)[KEY].encode("utf-8", "replace")


def _agrees(path: Path, manifest: Manifest) -> bool:
    try:
        spec = GeneratorSpec.from_json(parsed(_metadata(path).get(SPEC_KEY, "null").encode()))
        return (spec.arch, spec.signature) == (manifest.arch, manifest.signature)
    except (ValueError, RecursionError):
        raise GanExportError("its layers can't be read; export it again") from None


def _metadata(path: Path) -> dict[str, str]:
    """Return the `__metadata__` of a safetensors file; empty for any other file."""
    with open(path, "rb") as f:
        head = f.read(9)
        size = int.from_bytes(head[:8], "little")
        if len(head) < 9 or head[8:] != b"{" or size > LARGEST_TEXT:
            return {}
        f.seek(8)
        text = f.read(size)
    try:
        found = read_json(text, Budget(size)).get("__metadata__", {})
        return {k: v for k, v in found.items() if isinstance(v, str)}
    except (ValueError, AttributeError, RecursionError, BudgetError):
        return {}


SAFETENSORS = Format("safetensors", "safetensors", _detect, _manifest, {"fp32": FLOAT32}, agrees=_agrees)
