"""The description of a file format: how to detect its files and where they store their manifest."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from gan_export._lib.budget import Budget, read_json
from gan_export.formats.bounds import Tolerance
from gan_export.formats.probe import Probe

if TYPE_CHECKING:
    from gan_export.formats.manifest import Manifest

CHECKPOINT = "checkpoint"  # what a file of no format is called
KEY = "gan-export.manifest"  # in ONNX metadata; the extra file of a TorchScript archive bears the same name
LARGEST_TEXT = 1 << 27  # bytes of a manifest, or of what one is looked for in


class Patch(NamedTuple):
    """Bytes to write at an offset of the file that holds the manifest."""

    at: int
    data: bytes


Names = Callable[[Path], Iterable[str]]
Sums = Callable[[BinaryIO, mmap.mmap, Patch], Iterable[Patch]]


def manifest_path(artifact: Path) -> Path:
    """Return the path of the separate manifest file, for formats that can't store one inside."""
    return artifact.with_name(artifact.name + ".manifest.json")


def parsed(text: bytes) -> Any:
    """Parse JSON; the budget for parsing is its length."""
    return read_json(text, Budget(len(text)))


def bin_beside(path: Path) -> tuple[str, ...]:
    """Return the name STEM.bin, for formats that store their weights in that file."""
    return (path.with_suffix(".bin").name,)


def _itself(path: Path) -> Path:
    return path


def _alone(path: Path) -> tuple[str, ...]:
    return ()


def _nothing_hashed(path: Path) -> Mapping[str, Path]:
    return {}


def _always(path: Path, manifest: Manifest) -> bool:
    return True


def _no_sums(f: BinaryIO, data: mmap.mmap, patch: Patch) -> tuple[Patch, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Format:
    """An entry of `FORMATS`: what can be read of a format's files without the libraries that write and run them.

    name:       the format's name; a runtime's `format` refers to it
    exporter:   the name of the exporter that writes it; the manifest states it as well
    detect:     whether a file or folder is of this format, by its content and never by its name
    manifest:   returns the manifest's text, or None if there is none.  Raises GanExportError for a damaged file
    tolerances: precision -> the tolerance that `verify` applies
    program:    for files that contain code which using them runs: what they are called in the warning; else empty
    beside:     returns the names of the export's other files, in the same folder
    hashed:     returns the other files that the content hash covers, under fixed names that don't depend on the path
    holder:     returns the file that contains the manifest
    sums:       returns the checksums to update when a patch changes bytes of that file
    agrees:     whether the file's own header describes the same generator as the manifest
    """

    name: str
    exporter: str
    detect: Callable[[Probe], bool]
    manifest: Callable[[Path], bytes | None]
    tolerances: Mapping[str, Tolerance]
    program: str = ""
    beside: Names = _alone
    hashed: Callable[[Path], Mapping[str, Path]] = _nothing_hashed
    holder: Callable[[Path], Path] = _itself
    sums: Sums = _no_sums
    agrees: Callable[[Path, Manifest], bool] = _always
