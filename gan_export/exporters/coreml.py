"""Core ML's .mlpackage, by coremltools: an ML program for macOS 12, iOS 15 and newer, one image per call.

The manifest is an entry of the model's user-defined metadata.  Converting works on Linux too; running needs macOS.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_export._lib.escape import json_text
from gan_export._lib.fs import write_text
from gan_export.checkpoint.exportable import lowered_module
from gan_export.errors import GanExportError, first_line
from gan_export.exporters.base import Options, example_inputs, make_manifest, suppress_warnings
from gan_export.formats.base import KEY
from gan_export.formats.coreml import COREML_FILES, COREML_MODEL
from gan_export.formats.manifest import Manifest

if TYPE_CHECKING:
    from gan_export.checkpoint.exportable import Exportable

# The pass of coremltools that turns x × weight + bias into a BatchNorm, and so divides by the root of 1 + 1e-5: in a
# deep residual generator, this caused an error of 1.7e-4.
_INEXACT = "common::fuse_elementwise_to_batchnorm"
_DATE = "com.github.apple.coremltools.conversion_date"  # an entry that coremltools adds


@dataclass(frozen=True, slots=True)
class CoreMl:
    """The exporter of a model with z: latents float32 (1, nz), label: int32 (1,) if any; image: float32 (1, C, H, W),
    or volume: float32 (1, C, D, H, W), or audio: float32 (1, C, L).

    fp16 applies to the weights and the arithmetic.
    """

    name: str = "coreml"
    title: str = "Core ML"
    suffix: str = ".mlpackage"
    folder: bool = True
    runtime: str = "coreml"
    takes: tuple[str, ...] = ("precision",)
    precisions: tuple[str, ...] = ("fp32", "fp16")
    devices: tuple[str, ...] = ("cpu",)
    runs: str = "Core ML on macOS and iOS; verified on macOS only"
    needs: tuple[str, ...] = ("torch", "coremltools")
    install: str = "coremltools"
    compilers: tuple[str, ...] = ()
    core: bool = False

    def write(self, generator: Exportable, target: Path, options: Options) -> Manifest:
        """Write the package; see `Exporter.write`."""
        import torch

        versions = {
            "torch": torch.__version__.split("+")[0],
            "coremltools": importlib.metadata.version("coremltools"),
        }
        manifest = make_manifest(self, generator, options, versions)
        with suppress_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            model = _convert(generator, options.precision)
            model.short_description = f"{manifest.arch}, exported by gan-export"
            with tempfile.TemporaryDirectory(prefix="gan-coreml-") as folder:
                made = Path(folder) / "model.mlpackage"
                model.save(str(made))
                _lay_down(made, target, manifest)
        return manifest


def _convert(generator: Exportable, precision: str) -> Any:
    import coremltools as ct
    import numpy as np
    import torch

    z, *labels = example_inputs(generator.signature, 1)
    inputs = [ct.TensorType("z", shape=tuple(z.shape))]
    inputs += [ct.TensorType("label", shape=(1,), dtype=np.int32) for _ in labels]  # Core ML has no int64
    passes = ct.PassPipeline()
    passes.remove_passes({_INEXACT})
    try:
        with torch.inference_mode(False), torch.no_grad():
            module = lowered_module(generator, "float").eval()
            traced = torch.jit.trace(module, (z, *(label.int() for label in labels)), check_trace=False)  # type: ignore[no-untyped-call]
            return ct.convert(
                traced,
                inputs=inputs,
                outputs=[ct.TensorType(generator.signature.outputs[0].name, dtype=np.float32)],
                convert_to="mlprogram",
                minimum_deployment_target=ct.target.iOS15,  # the first with ML programs, together with macOS 12
                compute_precision=ct.precision.FLOAT16 if precision == "fp16" else ct.precision.FLOAT32,
                pass_pipeline=passes,
                skip_model_load=True,
            )
    except (RuntimeError, ValueError, NotImplementedError) as e:
        raise GanExportError(f"coreml can't hold this generator: {first_line(e)}") from e


def _lay_down(made: Path, target: Path, manifest: Manifest) -> None:
    """Move the package `made` to `target`, with the manifest and without the date and random names of its parts."""
    from coremltools.proto import Model_pb2

    model = Model_pb2.Model()
    model.ParseFromString((made / COREML_MODEL).read_bytes())
    described = model.description.metadata.userDefined
    described.pop(_DATE, None)
    described[KEY] = manifest.to_json()

    contents = json.loads((made / COREML_FILES).read_text(encoding="utf-8"))
    parts = contents["itemInfoEntries"]
    names = {old: str(uuid.uuid5(uuid.NAMESPACE_OID, parts[old]["path"])) for old in parts}
    contents["itemInfoEntries"] = {names[old]: parts[old] for old in parts}
    contents["rootModelIdentifier"] = names[contents["rootModelIdentifier"]]

    for file in sorted(made.rglob("*")):
        if file.is_file():
            beside = target / file.relative_to(made)
            beside.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(file.read_bytes())
    (target / COREML_MODEL).write_bytes(model.SerializeToString(deterministic=True))
    write_text(target / COREML_FILES, json_text(contents, indent=2, sort_keys=True))
