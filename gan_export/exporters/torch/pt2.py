"""torch.export's `.pt2`, for `torch.export.load`; any process writes the same bytes."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_export.checkpoint.exportable import lowered_module
from gan_export.exporters.base import Options, example_inputs, file_signature, free_dimensions, make_manifest
from gan_export.formats.base import KEY
from gan_export.formats.manifest import Manifest
from gan_export.graph.views import LatentImage

if TYPE_CHECKING:
    from gan_export.checkpoint.exportable import Exportable

# Guards that `runtimes.pt2_check` accepts: it refuses guards that compute. A generator's signature states the sizes
# that it takes; torch's guards differ from that only at sizes that no session accepts.
_GUARD = re.compile(r"[^+*/%()-]*(?:\.size\(\)[^+*/%()-]*)*")
_KEPT = ("val", "tensor_meta")  # of a node's metadata; the rest is source paths and stack traces of this machine


@dataclass(frozen=True, slots=True)
class Pt2:
    """The exporter of module()(z[, label]) with z (N, nz); N is free.  As a sampler: inputs of `sampler_program`."""

    name: str = "pt2"
    title: str = "torch.export"
    suffix: str = ".pt2"
    folder: bool = False
    runtime: str = "pt2"
    takes: tuple[str, ...] = ("output", "sampler")
    precisions: tuple[str, ...] = ("fp32",)
    devices: tuple[str, ...] = ("cpu",)
    runs: str = "torch.export.load"
    needs: tuple[str, ...] = ("torch",)
    install: str = ""
    compilers: tuple[str, ...] = ()
    core: bool = True

    def write(self, generator: Exportable, target: Path, options: Options) -> Manifest:
        """Write the file; see `Exporter.write`."""
        import torch

        if options.sampler:
            options = replace(options, output="bytes")
        program = to_program(generator, options)
        for node in program.graph.nodes:
            node.meta = {key: value for key, value in node.meta.items() if key in _KEPT}
        program.example_inputs = None
        program._guards_code = [guard for guard in program._guards_code if _GUARD.fullmatch(guard)]
        manifest = make_manifest(self, generator, options, {"torch": torch.__version__.split("+")[0]})
        buffer = io.BytesIO()  # in a file's archive, entries would be under the file's name
        torch.export.save(program, buffer, extra_files={KEY: manifest.to_json()})
        target.write_bytes(buffer.getvalue())
        return manifest


def to_program(generator: Exportable, options: Options) -> Any:
    """Return the lowered generator as an exported program on `options.device`, whose batch, or count, is free."""
    import torch

    module: torch.nn.Module = lowered_module(generator, options.output)
    module.to(options.device)
    signature = file_signature(generator, options)
    inputs = tuple(value.to(options.device) for value in example_inputs(signature, 4))
    batch = torch.export.Dim("batch", min=1)
    free: tuple[Any, ...] = free_dimensions(signature, batch)
    if options.sampler:
        from gan_export.exporters.torch import sampler_program

        of = LatentImage.of(generator.signature, "sampler=True")
        module, inputs = sampler_program.SamplerProgram(of, module).eval(), sampler_program.example_inputs(of)
        free = tuple({0: batch} if value.ndim else None for value in inputs)
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")
        return torch.export.export(module, inputs, dynamic_shapes=free)
