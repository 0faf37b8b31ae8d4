"""OpenVINO's IR: an .xml with the graph, which refers to no other file, and a .bin with the weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_export._lib import untracked
from gan_export.errors import GanExportError, printable
from gan_export.exporters.base import Options, make_manifest
from gan_export.exporters.onnx.graph import DEFAULT_OPSET, to_model
from gan_export.exporters.onnx.int8 import check_sampled, quantize_int8
from gan_export.formats.manifest import Manifest
from gan_export.formats.openvino import OPENVINO_KEYS

if TYPE_CHECKING:
    from gan_export.checkpoint.exportable import Exportable


@dataclass(frozen=True, slots=True)
class OpenVinoIr:
    """The exporter of the ONNX graph converted by OpenVINO; for int8, the quantized graph.

    fp16 applies to the stored weights; the runtime chooses their arithmetic.
    """

    name: str = "openvino"
    title: str = "OpenVINO IR"
    suffix: str = ".xml"
    folder: bool = False
    runtime: str = "openvino-ir"
    takes: tuple[str, ...] = ("output", "precision")
    precisions: tuple[str, ...] = ("fp32", "fp16", "int8")
    devices: tuple[str, ...] = ("cpu",)
    runs: str = "OpenVINO"
    needs: tuple[str, ...] = ("torch", "onnx", "onnxscript", "openvino")
    install: str = "openvino"
    compilers: tuple[str, ...] = ()
    core: bool = True

    def write(self, generator: Exportable, target: Path, options: Options) -> Manifest:
        """Write the files; see `Exporter.write`.  The weights are beside `target`, which ends in .xml, as STEM.bin."""
        import torch

        openvino = untracked.openvino()

        if target.suffix != self.suffix:
            raise GanExportError(f"{printable(target.name)}: OpenVINO's files end in .xml and .bin; name one .xml")
        if options.precision == "int8":
            check_sampled(generator.signature)
        plain = replace(options, precision="fp32")
        graph = to_model(generator, plain, DEFAULT_OPSET)
        versions = {"torch": torch.__version__.split("+")[0], "openvino": openvino.__version__.split("-")[0]}
        if options.precision == "int8":
            narrow = quantize_int8(graph, generator.signature)
            graph = narrow.model
            manifest = narrow.noted(make_manifest(self, generator, options, versions | narrow.versions))
        else:
            manifest = make_manifest(self, generator, options, versions)
        try:
            model = openvino.Core().read_model(graph.SerializeToString(deterministic=True))
        except RuntimeError as e:
            why = printable(" ".join(str(e).split()), limit=300)
            raise GanExportError(f"openvino can't hold this generator: {why}") from e
        _number(model)
        model.set_rt_info(manifest.to_json(), list(OPENVINO_KEYS))
        try:
            openvino.save_model(model, str(target), compress_to_fp16=options.precision == "fp16")
        except RuntimeError as e:  # the error of OpenVINO's writer, which only states that a stream failed
            why = f"OpenVINO reports {printable(str(e))}; is the disk full?"
            raise GanExportError(f"{printable(target.name)} can't be written: {why}") from e
        return manifest


def _number(model: Any) -> None:
    """Number in the order of the graph what OpenVINO names by a counter of the whole process."""
    for i, op in enumerate(model.get_ordered_ops()):
        if op.get_friendly_name().startswith(f"{op.get_type_name()}_"):
            op.set_friendly_name(f"{op.get_type_name()}_{i}")
