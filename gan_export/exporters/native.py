"""The C engine's weight file, `.gan`: docs/gan-file-format.md to the byte."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gan_export.checkpoint.exportable import known_layers
from gan_export.errors import GanExportError, printable
from gan_export.exporters import gan_file
from gan_export.exporters.base import Options, make_manifest
from gan_export.exporters.gan_file import PortEntry, Record, TensorEntry
from gan_export.formats.manifest import Manifest
from gan_export.graph.fold import fold_batchnorm
from gan_export.graph.layers import (
    Activation,
    Add,
    Affine,
    Concat,
    Conv,
    ConvTranspose,
    Crop,
    Embedding,
    Layer,
    Linear,
    Multiply,
    OneHot,
    Reshape,
    Scale,
    Upsample,
)
from gan_export.graph.spec import GeneratorSpec

if TYPE_CHECKING:
    from gan_export.checkpoint.exportable import Exportable

Floats = npt.NDArray[np.float32]

MAX_SIDE, MAX_ARGUMENT, MAX_KERNEL, MAX_STRIDE, MAX_FACTOR = 65536, 1 << 20, 64, 64, 64
OPERATIONS: Mapping[type[Layer], int] = {  # engine/src/operations.def's numbers
    Linear: 1, ConvTranspose: 2, Conv: 3, Affine: 4, Activation: 5, Upsample: 6, Add: 7, Multiply: 8, Concat: 9,
    Reshape: 10, Crop: 11, Scale: 12, Embedding: 13, OneHot: 14,
}  # fmt: skip
ACTIVATIONS = {"relu": 1, "leaky_relu": 2, "tanh": 3, "sigmoid": 4}
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
# Error budgets that leave out, one after the other, the transform of 5 points a side, that of 3, and that of 4.
STEADIER = (6e-6, 3e-6, 2e-6)


@dataclass(frozen=True, slots=True)
class Native:
    """A `.gan` file: the lowered layers and their plain weights, which the C engine reads whole and draws from."""

    name: str = "native"
    title: str = "gan-export native"
    suffix: str = ".gan"
    folder: bool = False
    runtime: str = "native"
    takes: tuple[str, ...] = ("precision",)
    precisions: tuple[str, ...] = ("fp32", "fp16", "bf16")
    devices: tuple[str, ...] = ("cpu",)
    runs: str = "the C engine, and any program that links it"
    needs: tuple[str, ...] = ()
    install: str = ""
    compilers: tuple[str, ...] = ()
    core: bool = True

    def write(self, generator: Exportable, target: Path, options: Options) -> Manifest:
        """As `Exporter.write`.  The precision is that of the stored weights; arithmetic is float32 always."""
        checkpoint = known_layers(generator, "native")
        spec, weights = fold_batchnorm(checkpoint.spec, checkpoint.weights)
        manifest = make_manifest(self, generator, options, {})
        target.write_bytes(encode(spec, weights, manifest.to_json(), options.precision, options.error_budget))
        return manifest

    def steadier(self, options: Options) -> Iterator[Options]:
        """Yield the options with smaller error budgets, down to one that no transform is within."""
        for budget in STEADIER:
            yield replace(options, error_budget=budget)


def encode(
    spec: GeneratorSpec,
    weights: Mapping[str, Floats],
    manifest: str = "{}",
    precision: str = "fp32",
    error_budget: float = 0.0,
) -> bytes:
    """Return a lowered generator as the bytes of a `.gan` file.

    Raises GanExportError naming a layer that the file can't hold.  error_budget: docs/gan-file-format.md; 0 allows any
    error.
    """
    inputs = [_latent(spec), *([_label(spec)] if spec.classes else [])]
    values = {port.name: i for i, port in enumerate(inputs)}
    values |= {layer.name: len(inputs) + i for i, layer in enumerate(spec.layers)}
    image = PortEntry(
        "image", "image", _fixed(*spec.image), range=spec.range, output=True, value=len(inputs) + len(spec.layers) - 1
    )
    records = [_record(layer, values, weights, precision) for layer in spec.layers]
    return gan_file.encode((*inputs, image), records, manifest, error_budget=error_budget)


def _fixed(*sides: int) -> tuple[gan_file.Dim, ...]:
    return tuple((0, side, 1) for side in sides)


def _latent(spec: GeneratorSpec) -> PortEntry:
    prior = ("uniform", -1.0, 1.0) if spec.prior == "uniform" else ("normal", 0.0, 0.0)
    return PortEntry("z", "latent", _fixed(spec.nz), prior=prior)


def _label(spec: GeneratorSpec) -> PortEntry:
    return PortEntry("label", "label", dtype="int64", classes=spec.classes, stream=1)


def _stored(array: Floats, precision: str) -> bytes:
    match precision:
        case "fp16":
            with np.errstate(over="ignore"):
                half = array.astype("<f2")
            if not np.isfinite(half).all() and np.isfinite(array).all():
                raise GanExportError("a weight is too large for fp16 (above 65504); use --precision bf16 or fp32")
            return half.tobytes()
        case "bf16":  # round to nearest, ties to even; what is no number keeps a set fraction bit
            bits = array.astype("<f4").view("<u4").astype(np.uint64)
            rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
            rounded = np.where(np.isnan(array), (bits >> 16) | 0x40, rounded)
            return rounded.astype("<u2").tobytes()
    return array.astype("<f4").tobytes()


def _record(layer: Layer, values: Mapping[str, int], weights: Mapping[str, Floats], precision: str) -> Record:
    where = f"native can't hold layer {printable(layer.name)} ({type(layer).__name__})"
    if type(layer) not in OPERATIONS:
        raise GanExportError(f"{where}: it knows no such layer")
    integers, reals = attributes(layer)
    if any(not 0 <= number <= MAX_ARGUMENT for number in integers.values()):
        raise GanExportError(f"{where}: a size of {max(integers.values())} is too large")
    if isinstance(layer, Conv | ConvTranspose) and (layer.kernel > MAX_KERNEL or layer.stride > MAX_STRIDE):
        raise GanExportError(
            f"{where}: kernel {layer.kernel}, stride {layer.stride}; {MAX_KERNEL} and {MAX_STRIDE} are the most"
        )
    if isinstance(layer, Upsample) and layer.factor > MAX_FACTOR:
        raise GanExportError(f"{where}: factor {layer.factor}; {MAX_FACTOR} is the most")
    tensors = [
        TensorEntry(role, DTYPES[precision], array.shape, _stored(array, precision))
        for role in gan_file.ROLES
        if (array := weights.get(f"{layer.name}.{role}")) is not None
    ]
    return Record(
        OPERATIONS[type(layer)],
        layer.name,
        [values[name] for name in layer.inputs],
        tensors,
        {key: (number,) for key, number in integers.items()},
        {key: (number,) for key, number in reals.items()},
    )


def attributes(layer: Layer) -> tuple[dict[str, int], dict[str, float]]:
    """Return the integer and the real attributes of a layer's record, each one number."""
    match layer:
        case Linear(in_features=i, out_features=o):
            return {"in": i, "out": o}, {}
        case ConvTranspose(in_channels=i, out_channels=o, kernel=k, stride=s, padding=p, output_padding=q):
            return {"in": i, "out": o, "kernel": k, "stride": s, "padding": p, "output_padding": q}, {}
        case Conv(in_channels=i, out_channels=o, kernel=k, stride=s, padding=p):
            return {"in": i, "out": o, "kernel": k, "stride": s, "padding": p}, {}
        case Affine(channels=c):
            return {"channels": c}, {}
        case Activation(kind=kind, slope=slope):
            return {"kind": ACTIVATIONS[kind]}, {"slope": slope}
        case Upsample(factor=f, mode=mode):
            return {"factor": f, "bilinear": int(mode == "bilinear")}, {}
        case Reshape(shape=shape):
            channels, height, width = [*shape, 0, 0][:3]
            return {"channels": channels, "height": height, "width": width}, {}
        case Crop(top=t, left=left, height=h, width=w):
            return {"top": t, "left": left, "height": h, "width": w}, {}
        case Scale(factor=factor, offset=offset):
            return {}, {"factor": factor, "offset": offset}
        case Embedding(classes=n, dim=d):
            return {"classes": n, "length": d}, {}
        case OneHot(classes=n):
            return {"classes": n}, {}
    return {}, {}


NATIVE = Native()
