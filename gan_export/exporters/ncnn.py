"""ncnn's pair, made by pnnx: a .param with the layers as text, and a .bin of weights beside it.

Neither has a place for a manifest, which lies beside them too.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gan_export._lib.fs import write_text
from gan_export.checkpoint.exportable import known_layers, lowered_module
from gan_export.errors import GanExportError, printable
from gan_export.exporters.base import Options, example_inputs, make_manifest, suppress_warnings
from gan_export.formats.base import manifest_path
from gan_export.formats.manifest import Manifest

if TYPE_CHECKING:
    from gan_export.checkpoint.exportable import Exportable

_PATIENCE = 600  # seconds that pnnx may take


@dataclass(frozen=True, slots=True)
class Ncnn:
    """in0: latents (nz,), in1: a label int32 (1,) where there are any; out0: (C, H, W).  One picture a call.

    fp16 is of the stored weights; ncnn computes as it is told to.
    """

    name: str = "ncnn"
    title: str = "ncnn"
    suffix: str = ".ncnn.param"
    folder: bool = False
    runtime: str = "ncnn"
    takes: tuple[str, ...] = ("precision",)
    precisions: tuple[str, ...] = ("fp32", "fp16")
    devices: tuple[str, ...] = ("cpu",)
    runs: str = "ncnn"
    needs: tuple[str, ...] = ("torch", "pnnx", "ncnn")
    install: str = "ncnn pnnx"
    compilers: tuple[str, ...] = ()
    core: bool = False

    def write(self, generator: Exportable, target: Path, options: Options) -> Manifest:
        """As `Exporter.write`; the weights lie beside `target`, which ends in .param, under its stem and .bin."""
        import ncnn
        import pnnx
        import torch

        if target.suffix != ".param":
            raise GanExportError(f"{printable(target.name)}: ncnn's files end in .param and .bin; name one .param")
        versions = {
            "torch": torch.__version__.split("+")[0],
            "pnnx": str(pnnx.__version__),
            "ncnn": str(ncnn.__version__),
        }
        manifest = make_manifest(self, generator, options, versions)
        with tempfile.TemporaryDirectory(prefix="gan-ncnn-") as folder:
            _convert(generator, Path(folder), "1" if options.precision == "fp16" else "0")
            made = Path(folder) / "model.ncnn.param"
            _check_layers(made.read_text(encoding="utf-8"))
            shutil.copyfile(made.with_suffix(".bin"), target.with_suffix(".bin"))
            write_text(manifest_path(target), manifest.to_text())
            target.write_bytes(_with_size(made.read_bytes(), known_layers(generator, "ncnn").spec.nz))
        return manifest


def _convert(generator: Exportable, folder: Path, fp16: str) -> None:
    """model.ncnn.param and .bin in `folder`.  One picture: ncnn's layers know no batch."""
    import pnnx
    import torch

    inputs = example_inputs(generator.signature, 1)
    with suppress_warnings(), torch.no_grad():
        traced = torch.jit.trace(lowered_module(generator, "float"), inputs, check_trace=False)  # type: ignore[no-untyped-call]
        buffer = io.BytesIO()  # whose failure to reach the disk is an OSError
        torch.jit.save(traced, buffer)
    (folder / "model.pt").write_bytes(buffer.getvalue())
    kinds = {torch.float32: "f32", torch.int64: "i64"}
    shapes = ",".join(f"[{','.join(map(str, value.shape))}]{kinds[value.dtype]}" for value in inputs)
    command = [pnnx.EXEC_PATH, "model.pt", f"inputshape={shapes}", f"fp16={fp16}"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise GanExportError(f"ncnn: pnnx can't be run: {printable(str(e))}") from e
    if done.returncode or not (folder / "model.ncnn.param").is_file() or not (folder / "model.ncnn.bin").is_file():
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise GanExportError(f"ncnn: pnnx failed: {printable(lines[-1] if lines else f'exit code {done.returncode}')}")


def _with_size(param: bytes, nz: int) -> bytes:
    """Add the length of the latents to the line of their input: ncnn itself takes any."""
    return re.sub(rb"(?m)^(Input +in0 .*)$", lambda line: line[1] + b" 0=%d" % nz, param, count=1)


def _check_layers(param: str) -> None:
    """Raises GanExportError naming the first layer that pnnx had no layer of ncnn for."""
    import ncnn

    for line in param.splitlines()[2:]:
        kind, name = line.split()[:2]
        if ncnn.layer_to_index(kind) < 0:
            raise GanExportError(f"ncnn has no layer for {printable(kind)} ({printable(name)}); export to onnx instead")
