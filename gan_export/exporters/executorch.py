"""ExecuTorch's .pte, by XNNPACK or only the portable kernels: one image per call.

The manifest is a constant method of the program, called `gan_export_manifest`.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_export.checkpoint.exportable import lowered_module
from gan_export.errors import GanExportError, first_line, printable
from gan_export.exporters.base import Options, example_inputs, make_manifest, suppress_warnings
from gan_export.formats.flatbuffers import MANIFEST_MARKER
from gan_export.formats.manifest import Manifest

if TYPE_CHECKING:
    from gan_export.checkpoint.exportable import Exportable

BACKENDS = ("xnnpack", "portable")


@dataclass(frozen=True, slots=True)
class ExecuTorch:
    """The exporter of forward: latents (1, nz) and, if any, a label int64 (1,) to (1, C, H, W)."""

    name: str = "executorch"
    title: str = "ExecuTorch"
    suffix: str = ".pte"
    folder: bool = False
    runtime: str = "executorch"
    takes: tuple[str, ...] = ("backend",)
    precisions: tuple[str, ...] = ("fp32",)
    devices: tuple[str, ...] = ("cpu",)
    runs: str = "ExecuTorch, with XNNPACK or without"
    needs: tuple[str, ...] = ("torch", "executorch")
    install: str = "executorch"
    compilers: tuple[str, ...] = ()
    core: bool = False

    def write(self, generator: Exportable, target: Path, options: Options) -> Manifest:
        """Write the file; see `Exporter.write`."""
        import torch

        if options.backend not in BACKENDS:
            raise GanExportError(f"no backend is called {printable(options.backend)}; there are {', '.join(BACKENDS)}")
        versions = {
            "torch": torch.__version__.split("+")[0],
            "executorch": importlib.metadata.version("executorch").split("+")[0],
        }
        manifest = make_manifest(self, generator, options, versions)
        target.write_bytes(_convert(generator, options.backend, MANIFEST_MARKER.decode() + manifest.to_json()))
        return manifest


def _convert(generator: Exportable, backend: str, manifest: str) -> bytes:
    import torch

    with suppress_warnings():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        partitioners: list[Any] = [XnnpackPartitioner()] if backend == "xnnpack" else []
        module, inputs = lowered_module(generator, "float"), example_inputs(generator.signature, 1)
        try:
            with torch.inference_mode(False), torch.no_grad():
                program = torch.export.export(module, inputs)
                edge = to_edge_transform_and_lower(
                    program, partitioner=partitioners, constant_methods={"gan_export_manifest": manifest}
                )
                return bytes(edge.to_executorch().buffer)
        except (RuntimeError, ValueError, NotImplementedError) as e:
            raise GanExportError(f"executorch can't hold this generator: {first_line(e)}") from e
