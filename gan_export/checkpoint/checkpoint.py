"""What reading a checkpoint gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gan_export.checkpoint.containers.tensors import Float32
from gan_export.graph.signature import Signature
from gan_export.graph.spec import GeneratorSpec
from gan_export.recognize.options import Match, ReadOptions


@dataclass(frozen=True, slots=True)
class Source:
    """Where weights came from.

    name:      the file's (or folder's) own name, without its folder
    sha256:    of the file; of a folder, of the lines "sha256  name\\n" of the files read in it, in order of name
    container: the kind of file, in words
    key:       dotted path of the state dict within it, "" where the file is one
    ignored:   keys of that state dict that nothing uses
    records:   names that the file gives and we neither import nor build: "argparse.Namespace", ...
    code:      those of them by which a program that unpickles the file would run something
    files:     all that was read, which nothing may be written over
    """

    name: str
    sha256: str
    container: str
    key: str = ""
    ignored: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A generator out of a file.

    weights: `layer.param` -> float32, C-contiguous, shaped as `spec.parameters()` says, in its order
    overrides: what was said of the file when it was read
    """

    weights: Mapping[str, Float32]
    source: Source
    reading: Match
    overrides: ReadOptions = field(default_factory=ReadOptions)

    @property
    def spec(self) -> GeneratorSpec:
        return self.reading.spec

    @property
    def arch(self) -> str:
        return self.spec.arch

    @property
    def signature(self) -> Signature:
        return self.spec.signature
