"""Safetensors: the checkpoint's own weights under the spec's names, with the spec in the metadata.

Nothing is folded or rounded: reading it returns the same generator, without recognition or assumptions. Source of the
format: huggingface/safetensors, README "Format".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gan_export.checkpoint.exportable import known_layers
from gan_export.exporters.base import Options, make_manifest
from gan_export.formats.base import KEY
from gan_export.formats.manifest import Manifest
from gan_export.graph.spec import SPEC_KEY

if TYPE_CHECKING:
    from gan_export.checkpoint.exportable import Exportable

_ALIGN = 8  # of the header's end, as the format requires


@dataclass(frozen=True, slots=True)
class Safetensors:
    """The exporter of float32 tensors `layer.param`, in the order of the layers."""

    name: str = "safetensors"
    title: str = "safetensors"
    suffix: str = ".safetensors"
    folder: bool = False
    runtime: str = "safetensors"
    takes: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ("fp32",)
    devices: tuple[str, ...] = ("cpu", "cuda")
    runs: str = "gan-export, and programs that read safetensors and know the layers"
    needs: tuple[str, ...] = ("torch",)
    install: str = ""
    compilers: tuple[str, ...] = ()
    core: bool = True

    def write(self, generator: Exportable, target: Path, options: Options) -> Manifest:
        """Write the file; see `Exporter.write`."""
        manifest = make_manifest(self, generator, options, {})
        checkpoint = known_layers(generator, "safetensors")
        spec = json.dumps(checkpoint.spec.to_json(), sort_keys=True, separators=(",", ":"))
        header: dict[str, object] = {"__metadata__": {KEY: manifest.to_json(), SPEC_KEY: spec}}
        at = 0
        arrays = [checkpoint.weights[name] for name in checkpoint.spec.parameters()]
        for name, array in zip(checkpoint.spec.parameters(), arrays, strict=True):
            header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
            at += array.nbytes
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % _ALIGN)
        with open(target, "wb") as f:
            f.write(len(text).to_bytes(8, "little") + text)
            for array in arrays:
                f.write(array.astype("<f4", copy=False).tobytes())
        return manifest
