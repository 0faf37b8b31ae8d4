"""The result of reading a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gan_export.checkpoint.containers.tensors import Float32
from gan_export.graph.signature import Signature
from gan_export.graph.spec import GeneratorSpec
from gan_export.recognize.options import Grade, Match, ReadOptions


@dataclass(frozen=True, slots=True)
class Source:
    """The origin of weights.

    name:      name of the file or folder, without its parent folder
    sha256:    sha256 of the file; for a folder, the sha256 of the lines "sha256  name\\n" of its files, sorted by name
    container: kind of the file, in words
    key:       dotted path of the state dict in the file, "" if the file itself is the state dict
    ignored:   keys of the state dict that the generator doesn't use
    records:   names in the file that are neither imported nor built: "argparse.Namespace", ...
    code:      names among `records` that run code if another program unpickles the file
    files:     all files that were read; no output may replace them
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
    """A generator that was read from a file.

    weights: `layer.param` -> float32, C-contiguous, with the shapes and in the order of `spec.parameters()`
    overrides: the options with which the file was read
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
    def grades(self) -> Mapping[str, Grade]:
        return self.reading.grades()

    @property
    def signature(self) -> Signature:
        return self.spec.signature
