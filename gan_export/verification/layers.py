"""Where an ONNX export first leaves its checkpoint: the values of its layers against the lowered layers in PyTorch."""

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

SEED, BATCH = 2, 4  # parity's latents, as many as show an error
BOUNDS: Mapping[str, float] = {"fp32": 1e-4, "fp16": 2e-2, "int8": 0.25}  # of a layer's largest value


@dataclass(frozen=True, slots=True)
class Step:
    """One layer.

    error: largest absolute difference of its values; size: the largest value; passed: within the precision's bound
    """

    layer: str
    error: float
    size: float
    passed: bool


def bisect(path: Path, checkpoint: Checkpoint, precision: str, batch: int = BATCH) -> tuple[Step, ...]:
    """Each layer that the graph's values still name, in order; the first that didn't pass is where to look.

    Raises GanExportError for a graph whose layers are not the checkpoint's.
    """
    check_external_data(path)
    feeds = checkpoint.spec.signature.feeds(SEED, range(batch))
    wanted = _layers(checkpoint, feeds)
    got = _values(path, tuple(wanted), feeds)
    if not got:
        raise GanExportError(f"{printable(path.name)} names none of the checkpoint's layers, so none can be compared")
    bound = BOUNDS[precision]
    steps = []
    for name, value in got.items():
        if value.shape != wanted[name].shape:
            raise GanExportError(f"layer {printable(name)} gives {value.shape}, the checkpoint's {wanted[name].shape}")
        error = float(np.abs(value.astype(np.float64) - wanted[name]).max())
        size = float(np.abs(wanted[name]).max())
        steps.append(Step(name, error, size, error <= bound * max(1.0, size)))  # NaN doesn't pass
    return tuple(steps)


def _layers(checkpoint: Checkpoint, feeds: Feeds) -> dict[str, npt.NDArray[np.float32]]:
    """The values of the lowered layers, by the names that their submodules have and the file's values bear."""
    import torch
    from torch import fx

    from gan_export.graph.fold import fold_batchnorm
    from gan_export.graph.torch_module import build_module, submodule_names

    spec, weights = fold_batchnorm(checkpoint.spec, checkpoint.weights)
    module = build_module(spec, weights)
    found = submodule_names(spec)
    names = iter(found[layer.name] for layer in spec.layers)
    values: dict[str, npt.NDArray[np.float32]] = {}

    class Watched(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            result = super().run_node(n)
            if n.op == "call_module" or n.target is torch.cat:  # a node a layer, in the spec's order
                values[next(names)] = result.numpy()
            return result

    with torch.inference_mode():
        Watched(module).run(*[torch.from_numpy(array) for array in feeds.values()])
    return values


def _values(path: Path, names: tuple[str, ...], feeds: Feeds) -> dict[str, npt.NDArray[Any]]:
    """The values of the graph at `path` that bear those names; its output stands for the last one."""
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
        raise GanExportError(f"{printable(path.name)} doesn't take {', '.join(feeds)}, as the checkpoint does")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Without fusions every layer's value is there to be seen.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        given = {name: array.astype(types[name], copy=False) for name, array in feeds.items()}
        drawn = session.run([last if name == names[-1] else name for name in wanted], given)
    except Exception as e:  # onnxruntime has an exception type a status code, with no base of their own
        why = printable(" ".join(str(e).split()), limit=300)
        raise GanExportError(f"{printable(path.name)}: ONNX Runtime can't run its layers: {why}") from e
    return dict(zip(wanted, drawn, strict=True))
