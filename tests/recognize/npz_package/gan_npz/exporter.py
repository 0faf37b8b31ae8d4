"""Writes a generator as an .npz file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gan_export.checkpoint.exportable import known_layers
from gan_export.exporters.base import Options, make_manifest
from gan_export.formats.manifest import Manifest
from gan_export.graph.lower import lower
from gan_npz.format import MANIFEST, SPEC

if TYPE_CHECKING:
    from gan_export.checkpoint.exportable import Exportable


@dataclass(frozen=True, slots=True)
class NpzExporter:
    """As `Exporter`."""

    name: str = "npz"
    title: str = "NumPy archive"
    suffix: str = ".npz"
    folder: bool = False
    runtime: str = "npz"
    takes: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ("fp32",)
    devices: tuple[str, ...] = ("cpu",)
    runs: str = "gan_npz"
    needs: tuple[str, ...] = ("torch",)
    install: str = ""
    compilers: tuple[str, ...] = ()
    core: bool = False

    def write(self, generator: Exportable, target: Path, options: Options) -> Manifest:
        """As `Exporter.write`."""
        checkpoint = known_layers(generator, self.name)
        spec, weights = lower(checkpoint.spec, checkpoint.weights)
        manifest = make_manifest(self, generator, options, {"numpy": np.__version__})
        texts = {SPEC: json.dumps(spec.to_json()), MANIFEST: manifest.to_json()}
        arrays = dict(weights) | {name: np.frombuffer(text.encode(), np.uint8) for name, text in texts.items()}
        with open(target, "wb") as f:
            np.savez(f, allow_pickle=False, **arrays)
        return manifest
