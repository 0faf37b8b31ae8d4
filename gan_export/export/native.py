"""The C engine's weight file, `.gan`: docs/FORMAT.md to the byte."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gan_export.arch.layers import (
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
from gan_export.arch.spec import GeneratorSpec
from gan_export.artifact import GAN_MAGIC, Manifest
from gan_export.errors import GanExportError, printable
from gan_export.export.base import Options, make_manifest
from gan_export.exportable import known_layers
from gan_export.lowering import lower

if TYPE_CHECKING:
    from gan_export.exportable import Exportable

Floats = npt.NDArray[np.float32]

VERSION, LIMITED = 1, 2  # the second where the largest transform is given
HEADER, RECORD, ALIGN = 128, 192, 64
MAX_LAYERS, MAX_INPUTS, MAX_SIDE, MAX_KERNEL, MAX_STRIDE = 512, 8, 65536, 1024, 64
OPS: tuple[type[Layer], ...] = (
    Linear, ConvTranspose, Conv, Affine, Activation, Upsample, Add, Multiply, Concat, Reshape, Crop, Scale,
    Embedding, OneHot,
)  # fmt: skip
ACTIVATIONS = {"relu": 1, "leaky_relu": 2, "tanh": 3, "sigmoid": 4}
DTYPES = {"fp32": 0, "fp16": 1, "bf16": 2}


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
        spec, weights = lower(checkpoint.spec, checkpoint.weights)
        manifest = make_manifest(self, generator, options, {})
        target.write_bytes(encode(spec, weights, manifest.to_json(), options.precision, options.points))
        return manifest

    def steadier(self, options: Options) -> Iterator[Options]:
        """Smaller transforms, which round less, down to none: 2 points a side are as many as a product has."""
        for points in (4, 3, 2):
            yield replace(options, points=points)


def encode(
    spec: GeneratorSpec, weights: Mapping[str, Floats], manifest: str = "{}", precision: str = "fp32", points: int = 0
) -> bytes:
    """A lowered generator as the bytes of a `.gan` file.  Raises GanExportError naming a layer that it can't hold.

    points: a side of the largest transform that the engine may take, from 2 (none); 0: any
    """
    if len(spec.layers) > MAX_LAYERS:
        raise GanExportError(f"native takes {MAX_LAYERS} layers, this generator has {len(spec.layers)}")
    low, high = spec.range or (-1.0, 1.0)
    values = {"z": 0, "label": 1} | {layer.name: 2 + i for i, layer in enumerate(spec.layers)}
    records, arrays, at = [], [], 0
    for layer in spec.layers:
        tensors: list[int] = []
        for name in ("weight", "bias"):
            array = weights.get(f"{layer.name}.{name}")
            stored = b"" if array is None else _stored(array, precision)
            tensors += [at if stored else 0, 0 if array is None else array.size]
            arrays.append(stored + bytes(-len(stored) % ALIGN))
            at += len(arrays[-1])
        records.append(_record(layer, values, tensors, DTYPES[precision]))
    text = manifest.encode()
    head = b"".join(records) + text
    head += bytes(-(HEADER + len(head)) % ALIGN)
    data = b"".join(arrays)
    fixed = struct.pack(
        "<8sIIQQQQQIIIIIII2fI",
        GAN_MAGIC, LIMITED if points else VERSION, RECORD, HEADER + len(head) + len(data),
        HEADER + RECORD * len(records), len(text), HEADER + len(head), len(data),
        len(records), spec.nz, ["normal", "uniform"].index(spec.prior), spec.classes, *spec.image, low, high, points,
    )  # fmt: skip
    sums = struct.pack("<QQ", *_sums(fixed + bytes(32 - 16) + struct.pack("<QQ", *_sums(data)) + head))
    return fixed + sums + struct.pack("<QQ", *_sums(data)) + head + data


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


def _record(layer: Layer, values: Mapping[str, int], tensors: list[int], dtype: int) -> bytes:
    where = f"native can't hold layer {printable(layer.name)} ({type(layer).__name__})"
    if type(layer) not in OPS:
        raise GanExportError(f"{where}: it knows no such layer")
    if len(layer.inputs) > MAX_INPUTS:
        raise GanExportError(f"{where}: it reads {len(layer.inputs)} values, {MAX_INPUTS} are possible")
    args, reals = _arguments(layer)
    if any(not 0 <= a <= 16 * MAX_SIDE for a in args):
        raise GanExportError(f"{where}: a size of {max(args)} is too large")
    if isinstance(layer, Conv | ConvTranspose) and (layer.kernel > MAX_KERNEL or layer.stride > MAX_STRIDE):
        raise GanExportError(
            f"{where}: kernel {layer.kernel}, stride {layer.stride}; {MAX_KERNEL} and {MAX_STRIDE} are the most"
        )
    inputs = [values[name] for name in layer.inputs]
    return struct.pack(
        "<II8I8I2f4QI12x64s",
        1 + OPS.index(type(layer)),
        len(inputs),
        *inputs, *[0] * (MAX_INPUTS - len(inputs)),
        *args, *[0] * (8 - len(args)),
        *reals,
        *tensors,
        dtype,
        layer.name.encode()[:64],
    )  # fmt: skip


def _arguments(layer: Layer) -> tuple[list[int], tuple[float, float]]:
    """The integers and the two reals of a record, in docs/FORMAT.md's order."""
    reals = (0.0, 0.0)
    args: list[Any] = []
    match layer:
        case Linear(in_features=i, out_features=o):
            args = [i, o]
        case ConvTranspose(in_channels=i, out_channels=o, kernel=k, stride=s, padding=p, output_padding=q):
            args = [i, o, k, s, p, q]
        case Conv(in_channels=i, out_channels=o, kernel=k, stride=s, padding=p):
            args = [i, o, k, s, p]
        case Affine(channels=c):
            args = [c]
        case Activation(kind=kind, slope=slope):
            args, reals = [ACTIVATIONS[kind]], (slope, 0.0)
        case Upsample(factor=f, mode=mode):
            args = [f, int(mode == "bilinear")]
        case Reshape(shape=shape):
            args = [*shape, 0, 0][:3]
        case Crop(top=t, left=left, height=h, width=w):
            args = [t, left, h, w]
        case Scale(factor=factor, offset=offset):
            reals = (factor, offset)
        case Embedding(classes=n, dim=d):
            args = [n, d]
        case OneHot(classes=n):
            args = [n]
    return args, reals


def _sums(data: bytes) -> tuple[int, int]:
    """The sum of the 64-bit words and the sum of (i + 1) x word i, both mod 2^64."""
    words = np.frombuffer(data + bytes(-len(data) % 8), "<u8").astype(np.uint64)
    with np.errstate(over="ignore"):
        weighted = words * np.arange(1, len(words) + 1, dtype=np.uint64)
        return int(words.sum(dtype=np.uint64)), int(weighted.sum(dtype=np.uint64))


NATIVE = Native()
