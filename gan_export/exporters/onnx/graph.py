"""ONNX by torch.onnx's dynamo exporter, without the data of the machine that wrote it."""

from __future__ import annotations

import ast
import contextlib
import io
import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_export.checkpoint.exportable import known_layers, lowered_module
from gan_export.errors import GanExportError
from gan_export.exporters.base import Options, example_inputs, file_signature, free_dimensions, make_manifest
from gan_export.exporters.onnx import sampler
from gan_export.exporters.onnx.int8 import check_sampled, quantize_int8
from gan_export.formats.base import KEY
from gan_export.formats.manifest import Manifest
from gan_export.graph.ports import Port
from gan_export.graph.views import LatentImage, takes_image

if TYPE_CHECKING:
    import onnx

    from gan_export.checkpoint.exportable import Exportable
    from gan_export.graph.signature import Signature

DEFAULT_OPSET = 18  # the oldest that the exporter writes without conversion, so the one that most runtimes take
OPSETS = range(18, 25)
LARGEST_INLINE = (1 << 31) - (1 << 24)  # bytes of weights; a protobuf message ends at 2 GiB
_KEPT_INLINE = 1024  # weights below this size stay in the graph
_SCOPES = "pkg.torch.onnx.name_scopes"


@dataclass(frozen=True, slots=True)
class Onnx:
    """The exporter of a graph with the signature's inputs and outputs by name; N and the sizes are free.

    As a sampler: the inputs and output of `sampler.prepend_sampler`.
    """

    name: str = "onnx"
    title: str = "ONNX"
    suffix: str = ".onnx"
    folder: bool = False
    runtime: str = "onnxruntime"
    takes: tuple[str, ...] = ("output", "opset", "precision", "static", "external_data", "fp16_io", "sampler")
    precisions: tuple[str, ...] = ("fp32", "fp16", "int8")
    devices: tuple[str, ...] = ("cpu", "cuda")
    runs: str = "ONNX Runtime, OpenVINO, and other readers of ONNX"
    needs: tuple[str, ...] = ("torch", "onnx", "onnxscript")
    install: str = ""
    compilers: tuple[str, ...] = ()
    core: bool = True

    def write(self, generator: Exportable, target: Path, options: Options) -> Manifest:
        """Write the file, after ONNX's checker and shape inference; see `Exporter.write`."""
        import onnx
        import torch

        opset = options.opset or DEFAULT_OPSET
        if opset not in OPSETS:
            raise GanExportError(f"opset={opset}: must be {OPSETS.start} to {OPSETS.stop - 1}")
        _check(options)
        _check_images(generator.signature, options)
        if options.precision == "int8":
            check_sampled(generator.signature)
        if options.sampler:
            options = replace(options, output="bytes")
        model = to_model(generator, options, opset)
        if options.sampler:
            sampler.prepend_sampler(model, LatentImage.of(generator.signature, "sampler=True"))
        versions = {"torch": torch.__version__.split("+")[0], "onnx": onnx.__version__}
        if options.precision == "int8":
            narrow = quantize_int8(model, generator.signature)
            model = narrow.model
            manifest = narrow.noted(make_manifest(self, generator, options, versions | narrow.versions))
        else:
            manifest = make_manifest(self, generator, options, versions)
        model.producer_name, model.producer_version = "gan-export", versions["torch"]
        model.graph.name = "sampler" if options.sampler else "generator"
        for key, value in _for_people(manifest).items():
            model.metadata_props.add(key=key, value=value)
        model.metadata_props.add(key=KEY, value=manifest.to_json())
        if options.external_data or sum(len(t.raw_data) for t in model.graph.initializer) > LARGEST_INLINE:
            # onnx.save_model would look for a file of that name in the working directory, and refuse
            for tensor in (t for t in model.graph.initializer if len(t.raw_data) >= _KEPT_INLINE):
                onnx.external_data_helper.set_external_data(tensor, f"{target.name}.data")
            onnx.save_model(model, target)
            onnx.checker.check_model(str(target), full_check=True)
        else:
            onnx.checker.check_model(model, full_check=True)
            target.write_bytes(model.SerializeToString(deterministic=True))
        return manifest


def _check(options: Options) -> None:
    if options.static is not None and options.static < 1:
        raise GanExportError(f"static={options.static}: must be at least 1")
    if options.fp16_io and options.precision != "fp16":
        raise GanExportError("fp16_io=True needs precision=fp16")
    if options.fp16_io and options.output == "bytes":
        raise GanExportError("fp16_io=True can't be combined with output='bytes'; leave one out")
    if options.sampler and (options.static is not None or options.precision != "fp32"):
        raise GanExportError("sampler=True can't be combined with static= or precision=; leave one out")
    if options.static is not None and options.precision == "int8":
        raise GanExportError("static= can't be combined with precision=int8; leave one out")


def _check_images(signature: Signature, options: Options) -> None:
    """Raise GanExportError for options that don't work with a generator that takes images."""
    if not takes_image(signature):
        return
    if options.precision == "fp16":
        raise GanExportError("precision=fp16 doesn't support a generator that takes images; leave it out")
    if options.static is not None and signature.sizes:
        raise GanExportError("static= fixes height and width too; add size=HxW")


def to_model(generator: Exportable, options: Options, opset: int) -> onnx.ModelProto:
    """Return the lowered generator as a graph without data of this machine."""
    model = _convert(generator, options, opset)
    _strip(model)
    return model


def _convert(generator: Exportable, options: Options, opset: int) -> onnx.ModelProto:
    import torch

    signature = file_signature(generator, options)
    inputs = example_inputs(signature, options.static or 2)
    if options.precision == "fp16":
        from gan_export.exporters.onnx.fp16 import to_fp16, within_range

        narrow = within_range(known_layers(generator, "onnx in fp16"))
        floats = [p.name for p in signature.inputs if p.dtype == "float32"]
        module = to_fp16(lowered_module(narrow, options.output), floats, fp16_io=options.fp16_io)
        inputs = (inputs[0].half(), *inputs[1:]) if options.fp16_io else inputs
    else:
        module = lowered_module(generator, options.output)
    with _quiet(), torch.inference_mode(False), torch.no_grad():
        program = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            input_names=[p.name for p in signature.inputs],
            output_names=[p.name for p in signature.outputs],
            dynamic_shapes=None if options.static else free_dimensions(signature, "N"),
            opset_version=opset,
            verbose=False,
        )
    assert program is not None  # with dynamo=True it always returns one
    return program.model_proto


def _strip(model: onnx.ModelProto) -> None:
    """Name nodes and values after the layers, and drop metadata, which contains source paths of this machine."""
    graph = model.graph
    outputs = {o.name for o in graph.output}
    last = {_layer(node): i for i, node in enumerate(graph.node)}
    seen: Counter[str] = Counter()
    new_names: dict[str, str] = {}
    for i, node in enumerate(graph.node):
        layer = _layer(node)
        name = layer if last[layer] == i else f"{layer}/{node.op_type.lower()}{seen[layer]}"
        seen[layer] += 1
        node.name = name
        for k, output in enumerate(node.output):
            if output and output not in outputs:
                own = f"{name}/value" if name in outputs else name  # a last layer before a cast may be called `image`
                new_names[output] = own if k == 0 else f"{own}.{k}"
    constants = [t.name for t in graph.initializer if "." not in t.name]
    new_names |= {old: f"constant{i}" for i, old in enumerate(constants)}
    for node in graph.node:
        node.input[:] = [new_names.get(v, v) for v in node.input]
        node.output[:] = [new_names.get(v, v) for v in node.output]
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*graph.initializer, *graph.value_info, *graph.input, *graph.output]:
        value.name = new_names.get(value.name, value.name)
        del value.metadata_props[:]
        value.doc_string = ""
    keep = [v for v in graph.value_info if v.name not in {t.name for t in graph.initializer}]
    del graph.value_info[:]
    graph.value_info.extend(keep)
    del graph.metadata_props[:]
    graph.doc_string = ""


def _layer(node: onnx.NodeProto) -> str:
    """Return the layer of a node: the outermost of its named scopes."""
    text = next((p.value for p in node.metadata_props if p.key == _SCOPES), "[]")
    scopes = [s for s in ast.literal_eval(text) if s]
    return str(scopes[0]) if scopes else node.name or node.op_type.lower()


def _for_people(manifest: Manifest) -> dict[str, str]:
    """Return the manifest's facts, one key each, for programs that show metadata."""
    inputs = {"gan-export.inputs": "seed, start, count; int64"} if manifest.seeded else {}
    return inputs | {
        "gan-export.architecture": manifest.arch,
        **{f"gan-export.{p.name}": _port_text(p, manifest) for p in manifest.file_signature()},
        "gan-export.source_sha256": manifest.source_sha256,
    }


def _port_text(port: Port, manifest: Manifest) -> str:
    """Return a port as a reader's text: float32 NCHW in [-1, 1]."""
    form = f"N{port.layout}" if port.layout else manifest.signature.describe(port).split(" ", 1)[1]
    prior = "" if port.prior is None else f" of {type(port.prior).__name__.lower()} prior, {manifest.latent_law}"
    bounded = "" if port.range is None or port.dtype == "uint8" else f" in [{port.range[0]:g}, {port.range[1]:g}]"
    return f"{port.dtype} {form}{bounded}{prior}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's progress messages and deprecation warnings."""
    loggers: list[Any] = [logging.getLogger(n) for n in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
