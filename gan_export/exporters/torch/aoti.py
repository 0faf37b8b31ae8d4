"""AOTInductor's package: a library compiled for one kind of processor or GPU, in an archive that torch loads.

It lists the instructions that its code uses, so that a machine without them refuses it instead of crashing.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_export.errors import GanExportError, UnavailableError, last_line, printable
from gan_export.exporters.base import Options, make_manifest, suppress_warnings
from gan_export.exporters.torch.pt2 import to_program
from gan_export.formats.base import KEY
from gan_export.formats.manifest import Manifest

if TYPE_CHECKING:
    from gan_export.checkpoint.exportable import Exportable

_STEM = "generator"
# Written by the archive's writer again, or unused sources with paths.
_DROPPED = re.compile(r"(^\.data/.*|^version|^byteorder|\.cpp)$")
# ELF's note: a hash that depends on paths
_BUILD_ID = re.compile(rb"(\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0).{20}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Aoti:
    """The exporter of aoti_load_package(file)(z[, label]) with z (N, nz) on the package's device; N is free."""

    name: str = "aoti"
    title: str = "AOTInductor"
    suffix: str = ".aoti.pt2"
    folder: bool = False
    runtime: str = "aotinductor"
    takes: tuple[str, ...] = ("output", "device")
    precisions: tuple[str, ...] = ("fp32",)
    devices: tuple[str, ...] = ("cpu", "cuda")
    runs: str = "torch, libtorch, without a compiler"
    needs: tuple[str, ...] = ("torch",)
    install: str = ""
    compilers: tuple[str, ...] = ("g++", "clang++", "cl")
    core: bool = False

    def write(self, generator: Exportable, target: Path, options: Options) -> Manifest:
        """Write the package; see `Exporter.write`.  The bytes depend also on the vector extension and the compiler.

        Raises UnavailableError if torch can't be restricted to the recorded instructions, or has no such device.
        """
        import torch
        from torch._inductor import config

        if not hasattr(config.cpp, "march"):
            raise UnavailableError(f"aoti: torch {torch.__version__} is too old; pip install 'torch>=2.14'")
        if options.device not in self.devices:
            raise GanExportError(f"aoti: device {printable(options.device)}: must be cpu or cuda")
        if options.device == "cuda" and not torch.cuda.is_available():
            raise UnavailableError("aoti: this torch finds no CUDA device; leave device= out to compile for the CPU")
        with suppress_warnings():
            versions = {"torch": torch.__version__.split("+")[0], **_compiler()}
            manifest = make_manifest(self, generator, options, versions)
            manifest = replace(manifest, options={**manifest.options, "isa": _instructions(options.device)})
            archive = _compile(generator, options)
        target.write_bytes(_canonical(archive, manifest))
        return manifest


def _compile(generator: Exportable, options: Options) -> bytes:
    import torch
    from torch._inductor import aoti_compile_and_package, config
    from torch._inductor.utils import fresh_cache

    settings: dict[str, Any] = {
        "cpp.march": "",  # else this machine's; the vector extension is set by name
        "aot_inductor.model_name_for_generated_files": _STEM,  # else a hash that depends on paths
        "aot_inductor.enable_line_tables": False,
        "aot_inductor.enable_frame_pointer": False,
        "aot_inductor.precompile_headers": False,
    }
    for bound in ("check_lowerbound", "check_upperbound"):  # of a batch, guessed from the example's size
        if hasattr(config.aot_inductor, bound):
            settings[f"aot_inductor.{bound}"] = False
    with tempfile.TemporaryDirectory(prefix="gan-aoti-") as folder:
        package = Path(folder) / f"{_STEM}.pt2"
        try:
            program = to_program(generator, options)
            with fresh_cache(dir=folder):
                aoti_compile_and_package(program, package_path=str(package), inductor_configs=settings)
        except RuntimeError as e:  # torch's errors of lowering and of the compiler
            raise GanExportError(f"aoti can't compile this generator: {last_line(e)}") from e
        home = os.fsencode(Path(torch.__file__).parents[1])
        return _without_paths(package.read_bytes(), (os.fsencode(folder), home))


def _without_paths(archive: bytes, folders: tuple[bytes, ...]) -> bytes:
    """Overwrite the names of these folders in the compiled library, keeping its length, and return the archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(buffer, "w") as made:
        for entry in source.infolist():
            data = source.read(entry)
            if not entry.filename.endswith(".cpp"):
                for folder in folders:
                    data = re.sub(re.escape(folder) + rb"[^\0]*/", lambda m: b"/" * len(m[0]), data)
                data = _BUILD_ID.sub(lambda m: m[1] + bytes(20), data)
            made.writestr(entry.filename, data)
    return buffer.getvalue()


def _canonical(archive: bytes, manifest: Manifest) -> bytes:
    """Return the archive without sources, under a fixed root, with the manifest as an extra file."""
    import torch

    buffer = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(buffer)
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        for entry in source.infolist():
            name = entry.filename.split("/", 1)[1]
            if not _DROPPED.search(name):
                data = source.read(entry)
                writer.write_record(name, data, len(data))
    text = manifest.to_json().encode()
    writer.write_record(f"extra/{KEY}", text, len(text))
    writer.write_end_of_file()
    return buffer.getvalue()


def _instructions(device: str) -> list[str]:
    """Return the instructions that the code needs, by the compiler's names; of a GPU as sm_90."""
    import torch
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    flags = pick_vec_isa().build_arch_flags()
    found = {a or b for a, b in re.findall(r"-m(?!arch|sve)([\w-]+)|\+(\w+)", flags)}
    if device == "cuda":
        found.add("sm_{}{}".format(*torch.cuda.get_device_capability()))
    return sorted(found)


def _compiler() -> dict[str, str]:
    from torch._inductor.cpp_builder import get_cpp_compiler

    name = get_cpp_compiler()
    try:
        done = subprocess.run([name, "-dumpfullversion"], capture_output=True, text=True, check=False)
    except OSError:
        return {}
    return {Path(name).name: done.stdout.strip()} if done.returncode == 0 and done.stdout.strip() else {}
