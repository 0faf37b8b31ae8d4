"""Write a generator of the run as a safetensors file that holds its own spec, so that nothing is left to recognize."""

from __future__ import annotations

from pathlib import Path

from gan_export._lib.fs import atomic_file
from gan_export.checkpoint import Checkpoint, Source
from gan_export.exporters import find
from gan_export.exporters.base import Options
from gan_export.graph.spec import GeneratorSpec
from gan_export.recognize.options import Match
from gan_export.training.distill.network import Weights


def save(spec: GeneratorSpec, weights: Weights, origin: Source, path: Path) -> None:
    """Write the file, completely or not at all.

    origin: what the manifest names as the source, because a student's weights come from no other file
    """
    keys = {name: name for name in spec.parameters()}
    generator = Checkpoint({name: weights[name] for name in keys}, origin, Match(spec, keys))
    with atomic_file(path) as temporary:
        find("safetensors").write(generator, temporary, Options())
