"""Find the first wrong layer of an ONNX export: compare its values with those of the lowered layers in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gan_export._lib import untracked
from gan_export.errors import GanExportError, printable
from gan_export.formats.protobuf import check_external_data
from gan_export.graph.signature import Feeds

if TYPE_CHECKING:
    from gan_export.checkpoint import Checkpoint

SEED, BATCH = 2, 4  # number of parity's latents, enough to show an error
BOUNDS: Mapping[str, float] = {"fp32": 1e-4, "fp16": 2e-2, "int8": 0.25}  # relative to a layer's largest value


@dataclass(frozen=True, slots=True)
class Step:
    """The comparison of one layer.

    error: largest absolute difference; size: largest value; passed: whether the error is within the precision's bound
    """

    layer: str
    error: float
    size: float
    passed: bool


def compare(path: Path, checkpoint: Checkpoint, precision: str, batch: int = BATCH) -> tuple[Step, ...]:
    """Compare each layer whose name is still in the graph, in order.

    Raises GanExportError if the layers of the graph are not the checkpoint's.
    """
    check_external_data(path)
    feeds = checkpoint.spec.signature.feeds(SEED, range(batch))
    wanted = _layers(checkpoint, feeds)
    got = _values(path, tuple(wanted), feeds)
    if not got:
        raise GanExportError(f"{printable(path.name)} has no names of the checkpoint's layers, so none can be compared")
    bound = BOUNDS[precision]
    steps = []
    for name, value in got.items():
        if value.shape != wanted[name].shape:
            raise GanExportError(
                f"layer {printable(name)} has shape {value.shape}, in the checkpoint {wanted[name].shape}"
            )
        error = float(np.abs(value.astype(np.float64) - wanted[name]).max())
        size = float(np.abs(wanted[name]).max())
        steps.append(Step(name, error, size, error <= bound * max(1.0, size)))  # NaN doesn't pass
    return tuple(steps)


def _layers(checkpoint: Checkpoint, feeds: Feeds) -> dict[str, npt.NDArray[np.float32]]:
    """Return the values of the lowered layers by the names of their submodules, which the file uses too."""
    import torch
    from torch import fx

    from gan_export.graph.lower import lower
    from gan_export.graph.torch_module import build_module, submodule_names

    spec, weights = lower(checkpoint.spec, checkpoint.weights)
    module = build_module(spec, weights)
    found = submodule_names(spec)
    names = iter(found[layer.name] for layer in spec.layers)
    values: dict[str, npt.NDArray[np.float32]] = {}

    class Watched(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            result = super().run_node(n)
            if n.op == "call_module" or n.target is torch.cat:  # one node per layer, in the order of the spec
                values[next(names)] = result.numpy()
            return result

    with torch.inference_mode():
        Watched(module).run(*[torch.from_numpy(array) for array in feeds.values()])
    return values


def _values(path: Path, names: tuple[str, ...], feeds: Feeds) -> dict[str, npt.NDArray[Any]]:
    """Return the values of the graph at `path` with those names; its output is the last one."""
    import onnx

    onnxruntime = untracked.onnxruntime()
    model = onnx.load(path)
    made = {output for node in model.graph.node for output in node.output}
    last = model.graph.output[0].name
    wanted = [name for name in names[:-1] if name in made]
    for name in wanted:
        model.graph.output.add(name=name)
    if model.graph.output[0].type.tensor_type.elem_type != onnx.TensorProto.UINT8:
        wanted = [*wanted, names[-1]]
    types = {
        value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        for value in model.graph.input
    }
    if set(types) != set(feeds):
        raise GanExportError(f"{printable(path.name)} doesn't have the checkpoint's inputs {', '.join(feeds)}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Without fusions, the values of all layers are available.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        given = {name: array.astype(types[name], copy=False) for name, array in feeds.items()}
        drawn = session.run([last if name == names[-1] else name for name in wanted], given)
    except Exception as e:  # onnxruntime has one exception type per status code, without a common base
        why = printable(" ".join(str(e).split()), limit=300)
        raise GanExportError(f"{printable(path.name)}: ONNX Runtime can't run its layers: {why}") from e
    return dict(zip(wanted, drawn, strict=True))
