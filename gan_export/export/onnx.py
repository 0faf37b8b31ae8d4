"""ONNX through torch.onnx's dynamo exporter, stripped of what belongs to the machine that wrote it."""

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

from gan_export.artifact import KEY, Facts, Manifest
from gan_export.errors import GanExportError
from gan_export.export import sampler_graph
from gan_export.export.base import Options, example_inputs, lowered_module, make_manifest

if TYPE_CHECKING:
    import onnx

    from gan_export.checkpoint import Checkpoint

DEFAULT_OPSET = 18  # the oldest that the exporter writes without conversion, so the one that most runtimes take
OPSETS = range(18, 25)
_SCOPES = "pkg.torch.onnx.name_scopes"


@dataclass(frozen=True, slots=True)
class Onnx:
    """Input z (N, nz) float32, and label (N,) int64 where there are labels; output image; N is free.

    As a sampler: inputs and output of `sampler_graph.prepend`.
    """

    name: str = "onnx"
    title: str = "ONNX"
    suffix: str = ".onnx"
    runtime: str = "onnxruntime"
    takes: tuple[str, ...] = ("output", "opset", "sampler")
    precisions: tuple[str, ...] = ("fp32",)

    def write(self, checkpoint: Checkpoint, target: Path, options: Options) -> Manifest:
        """As `Exporter.write`; the file has passed ONNX's checker and shape inference."""
        import onnx
        import torch

        opset = options.opset or DEFAULT_OPSET
        if opset not in OPSETS:
            raise GanExportError(f"opset {opset}: {OPSETS.start} to {OPSETS.stop - 1} are possible")
        if options.sampler:
            options = replace(options, output="bytes")
        model = _convert(checkpoint, options, opset)
        _strip(model)
        if options.sampler:
            sampler_graph.prepend(model, Facts.of(checkpoint.spec))
        versions = {"torch": torch.__version__.split("+")[0], "onnx": onnx.__version__}
        manifest = make_manifest(self, checkpoint, options, versions)
        model.producer_name, model.producer_version = "gan-export", versions["torch"]
        model.graph.name = "sampler" if options.sampler else "generator"
        for key, value in _for_people(manifest).items():
            model.metadata_props.add(key=key, value=value)
        model.metadata_props.add(key=KEY, value=manifest.to_json())
        onnx.checker.check_model(model, full_check=True)
        target.write_bytes(model.SerializeToString(deterministic=True))
        return manifest


def _convert(checkpoint: Checkpoint, options: Options, opset: int) -> onnx.ModelProto:
    import torch

    module = lowered_module(checkpoint, options.output)
    inputs = example_inputs(checkpoint.spec, 2)
    names = ["z", "label"][: len(inputs)]
    with _quiet(), torch.inference_mode(False), torch.no_grad():
        program = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            input_names=names,
            output_names=["image"],
            dynamic_shapes=tuple({0: "N"} for _ in inputs),
            opset_version=opset,
            verbose=False,
        )
    assert program is not None  # with dynamo=True it always returns one
    return program.model_proto


def _strip(model: onnx.ModelProto) -> None:
    """Name nodes and values after the layers, and drop metadata: it holds source paths of this machine."""
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
                new_names[output] = name if k == 0 else f"{name}.{k}"
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
    """The layer that a node came from: the outermost of its named scopes."""
    text = next((p.value for p in node.metadata_props if p.key == _SCOPES), "[]")
    scopes = [s for s in ast.literal_eval(text) if s]
    return str(scopes[0]) if scopes else node.name or node.op_type.lower()


def _for_people(manifest: Manifest) -> dict[str, str]:
    """The manifest's facts, one a key, for programs that show metadata."""
    facts = manifest.facts
    low_high = "unbounded" if facts.range is None else f"[{facts.range[0]:g}, {facts.range[1]:g}]"
    inputs = {"gan-export.inputs": "seed, start, count; int64"} if manifest.seeded else {}
    return inputs | {
        "gan-export.architecture": facts.arch,
        "gan-export.image": "uint8 NHWC" if manifest.output == "bytes" else f"float32 NCHW in {low_high}",
        "gan-export.latents": f"{facts.nz} x {facts.prior}, {manifest.latent_law}",
        "gan-export.source_sha256": manifest.source_sha256,
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress lines and deprecation warnings out of the user's sight."""
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
