"""What a format is: how its files are told apart, and where they keep their manifest."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from gan_export._lib.budget import Budget, read_json
from gan_export.formats.bounds import Tolerance

if TYPE_CHECKING:
    from gan_export.formats.manifest import Manifest

CHECKPOINT = "checkpoint"  # what a file of no format is called
KEY = "gan-export.manifest"  # in ONNX metadata; the extra file of a TorchScript archive bears the same name
HEAD = 64  # first bytes of a file that `Format.detect` gets
LARGEST_TEXT = 1 << 27  # bytes of a manifest, or of what one is looked for in


class Patch(NamedTuple):
    """Bytes to stand at an offset of the file that holds the manifest."""

    at: int
    data: bytes


Names = Callable[[Path], Iterable[str]]
Sums = Callable[[BinaryIO, mmap.mmap, Patch], Iterable[Patch]]


def manifest_path(artifact: Path) -> Path:
    """Where the manifest of an artifact lies whose format has no place for it."""
    return artifact.with_name(artifact.name + ".manifest.json")


def parsed(text: bytes) -> Any:
    """Return what a JSON text holds, within a budget of its own length."""
    return read_json(text, Budget(len(text)))


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
    """One entry of `FORMATS`: what is known of a kind of file without the libraries that write and run it.

    name:       the kind, which runtimes name as theirs
    exporter:   the name of the exporter that writes it, which its manifest states
    detect:     whether a path is of it, by the first HEAD bytes (none for a folder) and what it reads of it itself;
    never by its name
    manifest:   the text of its manifest, None if it has none.  Raises GanExportError for a damaged file
    tolerances: by precision, what an export is judged by
    program:    what it is, if it can't be used without running code that lies in it
    beside:     names of the other files that it is made of, in the same folder
    hashed:     those that its hash covers besides `path`, by the names that are hashed: none that a user may choose
    holder:     the file that holds the manifest's text
    sums:       what else a change of that file's bytes changes: checksums that cover them
    agrees:     whether what the file itself states of its generator is what the manifest states
    """

    name: str
    exporter: str
    detect: Callable[[Path, bytes], bool]
    manifest: Callable[[Path], bytes | None]
    tolerances: Mapping[str, Tolerance]
    program: str = ""
    beside: Names = _alone
    hashed: Callable[[Path], Mapping[str, Path]] = _nothing_hashed
    holder: Callable[[Path], Path] = _itself
    sums: Sums = _no_sums
    agrees: Callable[[Path, Manifest], bool] = _always
