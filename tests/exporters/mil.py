"""The program in an .mlpackage, read from its files and reckoned in PyTorch as MIL's operators are documented.

It shows that the program says what the generator does, not that Core ML does what the program says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

DATA = "Data/com.apple.CoreML"
TYPES = {1: np.bool_, 10: np.float16, 11: np.float32, 23: np.int32}  # MIL.proto's DataType
BLOBS = {1: np.float16, 2: np.float32}  # of weight.bin: MILBlob's BlobDataType
SENTINEL = 0xDEADBEEF
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}


class Program:
    """`inputs` and `outputs`: name -> (NumPy type, shape), as the model's description has them."""

    def __init__(self, package: Path) -> None:
        from coremltools.proto import FeatureTypes_pb2, Model_pb2

        self.spec = Model_pb2.Model()
        self.spec.ParseFromString((package / DATA / "model.mlmodel").read_bytes())
        self.metadata = self.spec.description.metadata
        self._weights = (package / DATA / "weights" / "weight.bin").read_bytes()
        (block,) = self.spec.mlProgram.functions["main"].block_specializations.values()
        self._block = block
        kinds = FeatureTypes_pb2.ArrayFeatureType
        types = {kinds.FLOAT32: np.float32, kinds.INT32: np.int32}
        self.inputs, self.outputs = (
            {f.name: (types[f.type.multiArrayType.dataType], tuple(f.type.multiArrayType.shape)) for f in features}
            for features in (self.spec.description.input, self.spec.description.output)
        )
        self.constants = {
            op.outputs[0].name: self._value(op.attributes["val"]) for op in block.operations if op.type == "const"
        }

    def weights(self) -> list[np.ndarray[Any, Any]]:
        """The constants of more than one value that are floats."""
        found = (value for value in self.constants.values() if isinstance(value, np.ndarray))
        return [value for value in found if value.dtype.kind == "f" and value.size > 1]

    def draw(self, **inputs: Tensor) -> Tensor:
        """Every value has the shape that the program declares for it, or this fails."""
        values: dict[str, Any] = {
            name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
            for name, value in self.constants.items()
        }
        values |= inputs
        for op in self._block.operations:
            if op.type == "const":
                continue
            arguments = {}
            for key, argument in op.inputs.items():
                given = [values[b.name] if b.name else self._value(b.value) for b in argument.arguments]
                arguments[key] = given if key == "values" else given[0]
            (output,) = op.outputs
            made = evaluate(op.type, arguments)
            declared = tuple(d.constant.size for d in output.type.tensorType.dimensions)
            assert tuple(made.shape) == declared, (op.type, output.name)
            values[output.name] = made
        (name,) = self._block.outputs
        return values[name]

    def _value(self, value: Any) -> Any:
        kind = value.type.tensorType
        shape = tuple(d.constant.size for d in kind.dimensions)
        if value.HasField("blobFileValue"):
            assert value.blobFileValue.fileName == "@model_path/weights/weight.bin"
            at = value.blobFileValue.offset
            sentinel, blob = np.frombuffer(self._weights, "<u4", 2, at)
            size, offset = np.frombuffer(self._weights, "<u8", 2, at + 8)
            assert sentinel == SENTINEL
            assert TYPES[kind.dataType] is BLOBS[int(blob)]
            dtype = np.dtype(BLOBS[int(blob)])
            return np.frombuffer(self._weights, dtype, int(size) // dtype.itemsize, int(offset)).reshape(shape).copy()
        tensor = value.immediateValue.tensor
        which = tensor.WhichOneof("value")
        if which == "strings":
            return tensor.strings.values[0]
        if which == "bytes":
            return np.frombuffer(tensor.bytes.values, TYPES[kind.dataType]).reshape(shape).copy()
        return np.array(getattr(tensor, which).values, TYPES[kind.dataType]).reshape(shape)


def evaluate(kind: str, a: dict[str, Any]) -> Tensor:
    """One operator of `a`, its arguments by MIL's names."""
    x = a.get("x")
    match kind:
        case "relu" | "tanh" | "sigmoid":
            return ACTIVATIONS[kind](x)
        case "leaky_relu":
            return F.leaky_relu(x, float(a["alpha"]))
        case "linear":
            return F.linear(x, a["weight"], a.get("bias"))
        case "conv":
            return F.conv2d(F.pad(x, pads(a)), a["weight"], a.get("bias"), tuple(a["strides"].tolist()))
        case "conv_transpose":
            return transposed(a)
        case "batch_norm":
            return F.batch_norm(x, a["mean"], a["variance"], a.get("gamma"), a.get("beta"), eps=float(a["epsilon"]))
        case "add":
            return x + a["y"]
        case "mul":
            return x * a["y"]
        case "equal":
            return x == a["y"]
        case "concat":
            return torch.cat(a["values"], int(a["axis"]))
        case "gather":
            return x.index_select(int(a["axis"]), a["indices"])
        case "expand_dims":
            for axis in a["axes"].tolist():
                x = x.unsqueeze(axis)
            return x
        case "reshape":
            return x.reshape(a["shape"].tolist())
        case "cast":
            return x.to({"fp16": torch.float16, "fp32": torch.float32, "int32": torch.int32}[a["dtype"]])
        case "upsample_nearest_neighbor" | "upsample_bilinear":
            times = (float(a["scale_factor_height"]), float(a["scale_factor_width"]))
            if kind == "upsample_nearest_neighbor":
                return F.interpolate(x, scale_factor=times, mode="nearest")
            assert not a["align_corners"]
            return F.interpolate(x, scale_factor=times, mode="bilinear", align_corners=False)
        case "slice_by_index":
            return sliced(a)
    raise AssertionError(f"MIL's {kind} is met for the first time")


def pads(a: dict[str, Any]) -> list[int]:
    """left, right, top, bottom: F.pad's order."""
    if a["pad_type"] == "valid":
        return [0, 0, 0, 0]
    assert a["pad_type"] == "custom"
    top, bottom, left, right = a["pad"].tolist()
    return [left, right, top, bottom]


def transposed(a: dict[str, Any]) -> Tensor:
    """The whole transposed convolution, cut by the padding and to the shape that is asked for."""
    full = F.conv_transpose2d(a["x"], a["weight"], None, tuple(a["strides"].tolist()))
    left, right, top, bottom = pads(a)
    height, width = full.shape[2] - top - bottom, full.shape[3] - left - right
    if "output_shape" in a:
        height, width = a["output_shape"].tolist()[2:]
    beyond = (0, max(0, left + width - full.shape[3]), 0, max(0, top + height - full.shape[2]))
    made = F.pad(full, beyond)[:, :, top : top + height, left : left + width]
    return made if a.get("bias") is None else made + a["bias"][:, None, None]


def sliced(a: dict[str, Any]) -> Tensor:
    """x[begin:end] of each axis, a masked bound being the axis's own."""
    x = a["x"]
    assert "squeeze_mask" not in a or not a["squeeze_mask"].any()
    where = []
    for axis, (begin, end) in enumerate(zip(a["begin"].tolist(), a["end"].tolist(), strict=True)):
        open_begin = "begin_mask" in a and bool(a["begin_mask"][axis])
        open_end = "end_mask" in a and bool(a["end_mask"][axis])
        where.append(slice(None if open_begin else begin, None if open_end else end))
    return x[tuple(where)]
