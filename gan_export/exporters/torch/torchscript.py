"""TorchScript for plain `torch.jit.load`; any process writes the same bytes."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_export.checkpoint.exportable import lowered_module
from gan_export.errors import GanExportError
from gan_export.exporters.base import Options, example_inputs, file_signature, make_manifest
from gan_export.formats.base import KEY
from gan_export.formats.manifest import Manifest
from gan_export.graph.views import LatentImage

if TYPE_CHECKING:
    from gan_export.checkpoint.exportable import Exportable

METHODS = ("trace", "script", "freeze")
# Written by the archive's writer again, or with source paths, or the example of a trace.
_DROPPED = re.compile(r"(\.debug_pkl|^traced_inputs.*|^version|^byteorder|^\.data/.*)$")
_CONSTANTS = re.compile(rb"(?m)(?:^  \w+ : Final\[.*\n)+")  # in the order of a set of strings: another each run
_MANGLED = re.compile(rb"___torch_mangle_\d+")


@dataclass(frozen=True, slots=True)
class TorchScript:
    """The exporter of forward(z[, label]) with z (N, nz) or (N, nz, 1, 1); N is free.

    As a sampler: forward(seed, start, count[, label]) of `sampler_module`.
    """

    name: str = "torchscript"
    title: str = "TorchScript"
    suffix: str = ".pt"
    folder: bool = False
    runtime: str = "torchscript"
    takes: tuple[str, ...] = ("output", "method", "sampler")
    precisions: tuple[str, ...] = ("fp32",)
    devices: tuple[str, ...] = ("cpu", "cuda")
    runs: str = "torch.jit.load, libtorch"
    needs: tuple[str, ...] = ("torch",)
    install: str = ""
    compilers: tuple[str, ...] = ()
    core: bool = True

    def write(self, generator: Exportable, target: Path, options: Options) -> Manifest:
        """Write the file; see `Exporter.write`."""
        import torch

        if options.method not in METHODS:
            raise GanExportError(f"no method is called {options.method}; there are {', '.join(METHODS)}")
        if options.sampler:
            options = replace(options, output="bytes")
        scripted = _compile(generator, options)
        manifest = make_manifest(self, generator, options, {"torch": torch.__version__.split("+")[0]})
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of changes to torch.jit at every save
            torch.jit.save(scripted, buffer, _extra_files={KEY: manifest.to_json()})
        target.write_bytes(_canonical(buffer.getvalue()))
        return manifest


def _compile(generator: Exportable, options: Options) -> Any:
    import torch

    module = lowered_module(generator, options.output)
    inputs = example_inputs(file_signature(generator, options), 2)
    with warnings.catch_warnings(), torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        warnings.simplefilter("ignore")  # and at every compilation
        if options.method == "script":
            compiled = torch.jit.script(module)
        else:
            compiled = torch.jit.trace(module, inputs, check_trace=False)  # type: ignore[no-untyped-call]
            if options.method == "freeze" and not options.sampler:
                compiled = torch.jit.freeze(compiled)
        if not options.sampler:
            return compiled
        from gan_export.exporters.torch.sampler_module import sampler

        # Not frozen: freezing would fix the device, which the sampler reads from its table.
        return torch.jit.script(sampler(LatentImage.of(generator.signature, "sampler=True"), compiled).eval())


def _canonical(archive: bytes) -> bytes:
    """Return the archive without debug records, with generated class names numbered in order of appearance.

    Otherwise, class names are numbered by what the process compiled before, and debug records contain its source paths.
    """
    import torch

    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        entries = [(e.filename.split("/", 1)[1], source.read(e)) for e in source.infolist()]
    numbers: dict[bytes, bytes] = {}

    def renumber(match: re.Match[bytes]) -> bytes:
        return numbers.setdefault(match[0], b"___torch_mangle_%d" % len(numbers))

    buffer = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(buffer)
    for name, content in entries:
        if _DROPPED.search(name):
            continue
        data = content
        if name.startswith("code/"):
            data = _CONSTANTS.sub(lambda lines: b"".join(sorted(lines[0].splitlines(keepends=True))), data)
        if name.startswith("code/") or name.endswith(".pkl"):
            data = _MANGLED.sub(renumber, data)
        new_name = _MANGLED.sub(renumber, name.encode()).decode()
        writer.write_record(new_name, data, len(data))
    writer.write_end_of_file()
    return buffer.getvalue()
