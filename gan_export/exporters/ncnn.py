"""ncnn's two files, made by pnnx: a .param with the layers as text, and a .bin with the weights.

Neither can contain a manifest, which is therefore a third file.
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
from gan_export.checkpoint import Checkpoint
from gan_export.checkpoint.exportable import lowered_module, unprepared
from gan_export.errors import GanExportError, printable
from gan_export.exporters.base import Options, make_manifest, suppress_warnings
from gan_export.formats.base import manifest_path
from gan_export.formats.manifest import Manifest
from gan_export.formats.ncnn import IMAGE_IN, IMAGE_OUT
from gan_export.graph.layers import UpsampleNd
from gan_export.graph.views import LatentImage

if TYPE_CHECKING:
    from gan_export.checkpoint.exportable import Exportable
    from gan_export.graph.signature import Feeds, Signature

_PATIENCE = 600  # timeout of pnnx in seconds


@dataclass(frozen=True, slots=True)
class Ncnn:
    """The exporter of in0: latents (nz,), in1: a label int32 (1,) if any; out0: (C, H, W); one image per call.

    A generator of images takes `data` (C, H, W), RGB in its family's range, and gives `output`, the names that programs
    for upscalers use; height and width stay free.

    fp16 applies to the stored weights; ncnn's own options decide how it computes.
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
        """Write the files; see `Exporter.write`.

        The weights are beside `target`, which ends in .param, as STEM.bin.
        """
        import ncnn
        import pnnx
        import torch

        if target.suffix != ".param":
            raise GanExportError(f"{printable(target.name)}: ncnn's files end in .param and .bin; name one .param")
        _check_upsampling(generator)
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
            target.write_bytes(_named(made.read_bytes(), generator.signature))
        return manifest


def _check_upsampling(generator: Exportable) -> None:
    """Raise GanExportError for a linear upsampling of volumes: ncnn's Interp would leave them as they are."""
    known = unprepared(generator)
    for layer in known.spec.layers if isinstance(known, Checkpoint) else ():
        if isinstance(layer, UpsampleNd) and layer.mode == "linear" and len(layer.factor) == 3:
            raise GanExportError(
                f"ncnn has no layer for {printable(layer.name)} (UpsampleNd, linear, 3-D); export to onnx instead"
            )


def _convert(generator: Exportable, folder: Path, fp16: str) -> None:
    """Write model.ncnn.param and .bin into `folder`, for one image: ncnn's layers have no batch."""
    import pnnx
    import torch

    signature = generator.signature
    examples = [signature.feeds(0, range(1), sizes=sizes) for sizes in signature.judged_sizes()[1::-1]]
    inputs = tuple(torch.from_numpy(array) for array in examples[0].values())  # pnnx takes the traced shapes first
    with suppress_warnings(), torch.no_grad():
        traced = torch.jit.trace(lowered_module(generator, "float"), inputs, check_trace=False)  # type: ignore[no-untyped-call]
        buffer = io.BytesIO()  # so that a full disk raises OSError in Python's own write
        torch.jit.save(traced, buffer)
    (folder / "model.pt").write_bytes(buffer.getvalue())
    shapes = [f"{name}={_shapes(feeds)}" for name, feeds in zip(("inputshape", "inputshape2"), examples, strict=False)]
    command = [pnnx.EXEC_PATH, "model.pt", *shapes, f"fp16={fp16}"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise GanExportError(f"ncnn: pnnx can't be run: {printable(str(e))}") from e
    if done.returncode or not (folder / "model.ncnn.param").is_file() or not (folder / "model.ncnn.bin").is_file():
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise GanExportError(f"ncnn: pnnx failed: {printable(lines[-1] if lines else f'exit code {done.returncode}')}")


def _shapes(feeds: Feeds) -> str:
    """Return the inputs' shapes as pnnx reads them; of two such lists, what differs is free."""
    kinds = {"float32": "f32", "int64": "i64"}
    return ",".join(f"[{','.join(map(str, array.shape))}]{kinds[str(array.dtype)]}" for array in feeds.values())


def _named(param: bytes, signature: Signature) -> bytes:
    """Return the layers with the length of the latents, or with the names of an image's blobs."""
    if signature.inputs[0].kind != "image":
        return _with_size(param, LatentImage.of(signature, "ncnn").nz)
    renamed = {b"in0": IMAGE_IN.encode(), b"out0": IMAGE_OUT.encode()}
    head, counts, *lines = param.splitlines()
    for i, line in enumerate(lines):
        kind, name, inputs, outputs, *rest = line.split()
        blobs = int(inputs) + int(outputs)
        rest = [renamed.get(word, word) if at < blobs else word for at, word in enumerate(rest)]
        lines[i] = b"%-24s %-24s %s %s %s" % (kind, name, inputs, outputs, b" ".join(rest))
    return b"\n".join([head, counts, *lines]) + b"\n"


def _with_size(param: bytes, nz: int) -> bytes:
    """Add the length of the latents to the line of their input, because ncnn itself accepts any."""
    return re.sub(rb"(?m)^(Input +in0 .*)$", lambda line: line[1] + b" 0=%d" % nz, param, count=1)


def _check_layers(param: str) -> None:
    """Raise GanExportError with the name of the first layer for which pnnx has no ncnn layer."""
    import ncnn

    for line in param.splitlines()[2:]:
        kind, name = line.split()[:2]
        if ncnn.layer_to_index(kind) < 0:
            raise GanExportError(f"ncnn has no layer for {printable(kind)} ({printable(name)}); export to onnx instead")
