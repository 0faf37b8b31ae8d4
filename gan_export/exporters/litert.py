"""LiteRT's .tflite, by litert-torch: one image per call, with the manifest as an entry of its metadata."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gan_export.checkpoint.exportable import lowered_module
from gan_export.errors import GanExportError, first_line
from gan_export.exporters.base import Options, example_inputs, make_manifest, suppress_warnings
from gan_export.formats.base import KEY
from gan_export.formats.flatbuffers import MANIFEST_MARKER
from gan_export.formats.manifest import Manifest

if TYPE_CHECKING:
    from gan_export.checkpoint.exportable import Exportable


@dataclass(frozen=True, slots=True)
class LiteRt:
    """The exporter of serving_default: args_0 latents (1, nz), args_1 a label int32 (1,); output_0 (1, C, H, W)."""

    name: str = "litert"
    title: str = "LiteRT"
    suffix: str = ".tflite"
    folder: bool = False
    runtime: str = "litert"
    takes: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ("fp32",)
    devices: tuple[str, ...] = ("cpu",)
    runs: str = "LiteRT (TensorFlow Lite)"
    needs: tuple[str, ...] = ("torch", "litert_torch", "ai_edge_litert")
    install: str = "litert-torch ai-edge-litert"
    compilers: tuple[str, ...] = ()
    core: bool = False

    def write(self, generator: Exportable, target: Path, options: Options) -> Manifest:
        """Write the file; see `Exporter.write`."""
        import torch

        versions = {name: importlib.metadata.version(name) for name in ("litert-torch", "ai-edge-litert")}
        versions["torch"] = torch.__version__.split("+")[0]
        manifest = make_manifest(self, generator, options, versions)
        target.write_bytes(_with_manifest(_convert(generator), manifest))
        return manifest


def _convert(generator: Exportable) -> bytes:
    """Convert without the converter's progress messages."""
    import torch

    with suppress_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import litert_torch

        module, inputs = lowered_module(generator, "float").eval(), example_inputs(generator.signature, 1)
        try:
            with (
                torch.inference_mode(False),
                torch.no_grad(),
                tempfile.TemporaryDirectory(prefix="gan-lite-") as folder,
            ):
                file = Path(folder) / "model.tflite"
                litert_torch.convert(module, inputs).export(str(file))
                return file.read_bytes()
        except (RuntimeError, ValueError, NotImplementedError) as e:
            raise GanExportError(f"litert can't hold this generator: {first_line(e)}") from e


def _with_manifest(model: bytes, manifest: Manifest) -> bytes:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    tables = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    text, entry = schema.BufferT(), schema.MetadataT()
    text.data = MANIFEST_MARKER + manifest.to_json().encode() + b"\0"
    entry.name, entry.buffer = KEY, len(tables.buffers)
    tables.buffers.append(text)
    tables.metadata = [*(tables.metadata or ()), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tables))
