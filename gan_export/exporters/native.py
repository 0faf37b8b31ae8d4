"""The C engine's weight file, `.gan`, as docs/gan-file-format.md defines it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gan_export.checkpoint.exportable import known_layers
from gan_export.errors import GanExportError, printable
from gan_export.exporters import gan_file, native_ranges, native_volumes
from gan_export.exporters.base import Options, make_manifest
from gan_export.exporters.gan_file import PortEntry, Record, SizeEntry, TensorEntry
from gan_export.formats.manifest import Manifest
from gan_export.graph.layers import (
    Activation,
    Add,
    AddNoise,
    AddPlane,
    Affine,
    Attend,
    AvgPool,
    BlurDown,
    BlurUp,
    ChannelBias,
    Channels,
    Clamp,
    Concat,
    Conv,
    ConvNd,
    ConvTranspose,
    ConvTransposeNd,
    Crop,
    Demodulate,
    Dropout,
    Embedding,
    GroupedConv,
    GroupedConvTranspose,
    InstanceNorm,
    Layer,
    Linear,
    MaxPool,
    ModulatedConstant,
    Multiply,
    OneHot,
    Pad,
    PixelNorm,
    PixelShuffle,
    PixelUnshuffle,
    PReLU,
    Reshape,
    Row,
    Rows,
    Scale,
    ScaleChannels,
    ShiftChannels,
    Truncate,
    Upsample,
    UpsampleNd,
)
from gan_export.graph.lower import lower
from gan_export.graph.ports import Port, Uniform, dim_parts
from gan_export.graph.signature import Signature
from gan_export.graph.spec import GeneratorSpec
from gan_export.graph.views import LatentImage, start_of, takes_image

if TYPE_CHECKING:
    from gan_export.checkpoint.exportable import Exportable

Floats = npt.NDArray[np.float32]

MAX_SIDE, MAX_ARGUMENT, MAX_KERNEL, MAX_STRIDE, MAX_FACTOR = 65536, 1 << 20, 64, 64, 64
MAX_FILTER, MAX_POOL = 16, 16
OPERATIONS: Mapping[type[Layer], int] = {  # the numbers of engine/src/operations.def
    Linear: 1, ConvTranspose: 2, Conv: 3, Affine: 4, Activation: 5, Upsample: 6, Add: 7, Multiply: 8, Concat: 9,
    Reshape: 10, Crop: 11, Scale: 12, Embedding: 13, OneHot: 14,
    InstanceNorm: 20, Pad: 21, PReLU: 22, PixelShuffle: 23, PixelUnshuffle: 24, BlurDown: 25, BlurUp: 26, Clamp: 27,
    Dropout: 28,
    PixelNorm: 40, Demodulate: 41, ModulatedConstant: 42, ScaleChannels: 43, ShiftChannels: 44, ChannelBias: 45,
    AddPlane: 46, AddNoise: 47, Truncate: 48, Row: 49, Channels: 50, GroupedConv: 51, GroupedConvTranspose: 52,
    AvgPool: 53, MaxPool: 54, Attend: 55, Rows: 56,
}  # fmt: skip
PARAMETERS: Mapping[type[Layer], str] = {
    BlurDown: "filt",
    BlurUp: "filt",
    Truncate: "center",
}  # the weight's name, if it is another
PADS = ("zeros", "reflect", "replicate")
ACTIVATIONS = {"relu": 1, "leaky_relu": 2, "tanh": 3, "sigmoid": 4}
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
# Error budgets that exclude, in turn, Winograd's transform, that with 5 points per side, that with 3, and that with 4.
STEADIER = (1e-5, 6e-6, 3e-6, 2e-6)
# In 16 bits: that with 5 points and Winograd's.  The next would exclude 16-bit products, which the user wants.
STEADIER_INT16 = (5e-3,)


@dataclass(frozen=True, slots=True)
class Native:
    """A `.gan` file: the lowered layers and their plain weights, which the C engine loads."""

    name: str = "native"
    title: str = "gan-export native"
    suffix: str = ".gan"
    folder: bool = False
    runtime: str = "native"
    takes: tuple[str, ...] = ("precision", "arithmetic")
    precisions: tuple[str, ...] = ("fp32", "fp16", "bf16")
    devices: tuple[str, ...] = ("cpu",)
    runs: str = "the C engine, and any program that links it"
    needs: tuple[str, ...] = ()
    install: str = ""
    compilers: tuple[str, ...] = ()
    core: bool = True

    def write(self, generator: Exportable, target: Path, options: Options) -> Manifest:
        """Write the file; see `Exporter.write`.

        The precision is that of the stored weights; with fast arithmetic, the file allows products of 16-bit numbers.
        """
        checkpoint = known_layers(generator, "native")
        spec, weights = lower(checkpoint.spec, checkpoint.weights)
        manifest = make_manifest(self, generator, options, {})
        ranges = native_ranges.measure(spec, weights) if options.arithmetic == "fast" else {}
        if options.arithmetic == "fast" and not ranges:
            raise GanExportError(
                "native: no layer of this generator can be computed in 16 bits; leave --arithmetic fast out"
            )
        text = manifest.to_json()
        target.write_bytes(encode(spec, weights, text, options.precision, options.error_budget, ranges=ranges))
        return manifest

    def steadier(self, options: Options) -> Iterator[Options]:
        """Yield the options with smaller error budgets, down to one that excludes every transform."""
        for budget in STEADIER_INT16 if options.arithmetic == "fast" else STEADIER:
            yield replace(options, error_budget=budget)


def encode(
    spec: GeneratorSpec,
    weights: Mapping[str, Floats],
    manifest: str = "{}",
    precision: str = "fp32",
    error_budget: float = 0.0,
    *,
    ranges: Mapping[str, Mapping[str, Sequence[float]]] = {},
) -> bytes:
    """Return a lowered generator as the bytes of a `.gan` file.

    error_budget: see docs/gan-file-format.md; 0 allows any error
    ranges: layer -> attribute -> numbers, of the layers that may be computed with products of 16-bit numbers
    Raises GanExportError with the name of a layer that the file can't contain.
    """
    signature = spec.signature
    values = {name: i for i, name in enumerate((*[p.name for p in signature.inputs], *[x.name for x in spec.layers]))}
    returned = values[spec.outputs[0]]
    ports = _image_ports(signature, returned) if takes_image(signature) else _latent_ports(signature, returned)
    records = [_record(layer, values, weights, precision, ranges.get(layer.name, {})) for layer in spec.layers]
    sizes = [SizeEntry(name, s.least, s.multiple, s.most) for name, s in signature.sizes.items()]
    arithmetic = "int16" if ranges else "float32"
    return gan_file.encode(ports, records, manifest, sizes=sizes, error_budget=error_budget, arithmetic=arithmetic)


def _image_ports(signature: Signature, returned: int) -> tuple[PortEntry, ...]:
    """Return the ports of a generator from an image and the noise of its dropouts or layers."""
    (given, *noise), (image, *others), symbols = signature.inputs, signature.outputs, list(signature.sizes)
    plain = [(p.kind, p.layout, p.dtype) == ("image", "CHW", "float32") for p in (given, image)]
    if others or not all(plain) or any(p.kind != "noise" for p in noise):
        takes, gives = (", ".join(p.name for p in side) for side in (signature.inputs, signature.outputs))
        raise GanExportError(
            f"this generator takes {takes} and gives {gives}; native holds one from an image to an image, and noise"
        )
    dims = [d for port in (given, image) for d in port.shape if isinstance(d, str)]
    if any(str(d) not in symbols for d in given.shape[1:] if isinstance(d, str)) or (
        len(symbols) != len({dim_parts(d)[0] for d in dims})
    ):
        raise GanExportError(
            f"native can't hold the input {given.name}: its height and width aren't sizes of their own"
        )

    def shape(port: Port) -> tuple[gan_file.Dim, ...]:
        parts = [dim_parts(d) for d in port.shape]
        return tuple((symbols.index(s) + 1 if s else 0, times, over) for s, times, over in parts)

    return (
        PortEntry(given.name, "image", shape(given), range=given.range),
        *(_noise(port, shape(port)) for port in noise),
        PortEntry(image.name, "image", shape(image), range=image.range, output=True, value=returned),
    )


def _latent_ports(signature: Signature, returned: int) -> tuple[PortEntry, ...]:
    """Return the ports of a generator from a latent and a label, or from w, and from scalars and noise.

    It gives an image, or values, as a mapping does.
    """
    beside = [p for p in signature.inputs if p.kind in ("scalar", "noise")]
    start = [p for p in signature.inputs if p not in beside]
    (made, *others) = signature.outputs  # an image, a volume, a signal or values, each of one layout
    if [p.kind for p in start] == ["values"] and made.layout == "CHW" and not others:
        inputs = {start[0].name: PortEntry(start[0].name, "values", _fixed(*start[0].dims({})))}
        shape: tuple[int, ...] = made.dims({})
    else:
        of = start_of(replace(signature, inputs=tuple(start)), "native")
        inputs = {"z": _latent(of), **({"label": _label(of)} if of.classes else {})}
        shape = made.dims({})
    for port in beside:
        inputs[port.name] = _scalar(port) if port.kind == "scalar" else _noise(port, _fixed(*port.dims({})))
    output = PortEntry(made.name, made.kind, _fixed(*shape), range=made.range, output=True, value=returned)
    return *(inputs[p.name] for p in signature.inputs), output


def _scalar(port: Port) -> PortEntry:
    return PortEntry(port.name, "scalar", range=port.range)


def _noise(port: Port, shape: tuple[gan_file.Dim, ...]) -> PortEntry:
    prior = ("normal", 0.0, 0.0)
    if isinstance(port.prior, Uniform):  # of a dropout
        prior = ("uniform", port.prior.low, port.prior.high)
    return PortEntry(port.name, "noise", shape, prior=prior, stream=port.stream or 0)


def _fixed(*sides: int) -> tuple[gan_file.Dim, ...]:
    return tuple((0, side, 1) for side in sides)


def _latent(of: LatentImage) -> PortEntry:
    prior = ("uniform", -1.0, 1.0) if of.prior == "uniform" else ("normal", 0.0, 0.0)
    return PortEntry("z", "latent", _fixed(of.nz), prior=prior)


def _label(of: LatentImage) -> PortEntry:
    return PortEntry("label", "label", dtype="int64", classes=of.classes, stream=1)


def _stored(array: Floats, precision: str) -> bytes:
    match precision:
        case "fp16":
            with np.errstate(over="ignore"):
                half = array.astype("<f2")
            if not np.isfinite(half).all() and np.isfinite(array).all():
                raise GanExportError("a weight is too large for fp16 (above 65504); use precision=bf16 or fp32")
            return half.tobytes()
        case "bf16":  # round to nearest, ties to even; NaN keeps a fraction bit set
            bits = array.astype("<f4").view("<u4").astype(np.uint64)
            rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
            rounded = np.where(np.isnan(array), (bits >> 16) | 0x40, rounded)
            return rounded.astype("<u2").tobytes()
    return array.astype("<f4").tobytes()


def _record(
    layer: Layer,
    values: Mapping[str, int],
    weights: Mapping[str, Floats],
    precision: str,
    ranges: Mapping[str, Sequence[float]],
) -> Record:
    where = f"native can't hold layer {printable(layer.name)} ({type(layer).__name__})"
    number = operation(layer)
    if number is None:
        raise GanExportError(f"{where}: the format has no such layer; export to onnx, torchscript, pt2 or openvino")
    if uneven := native_volumes.uneven(layer):
        raise GanExportError(f"{where}: {uneven}")
    integers, reals = attributes(layer)
    if any(not 0 <= number <= MAX_ARGUMENT for number in integers.values()):
        raise GanExportError(f"{where}: a size of {max(integers.values())} is too large")
    kernel, stride, factor = (integers.get(key, 0) for key in ("kernel", "stride", "factor"))
    if kernel > MAX_KERNEL or stride > MAX_STRIDE:
        raise GanExportError(f"{where}: kernel {kernel}, stride {stride}; {MAX_KERNEL} and {MAX_STRIDE} are the most")
    if factor > MAX_FACTOR:
        raise GanExportError(f"{where}: factor {factor}; {MAX_FACTOR} is the most")
    if isinstance(layer, GroupedConv | GroupedConvTranspose):
        if isinstance(layer, GroupedConvTranspose) and not layer.in_channels == layer.out_channels == layer.groups:
            raise GanExportError(
                f"{where}: {layer.groups} groups of {layer.in_channels} channels; "
                "the format has transposed convolutions with one group, or with one per channel"
            )
        if layer.kernel > MAX_FILTER:
            raise GanExportError(f"{where}: kernel {layer.kernel}; {MAX_FILTER} is the most")
    if isinstance(layer, AvgPool | MaxPool) and layer.size > MAX_POOL:
        raise GanExportError(f"{where}: size {layer.size}; {MAX_POOL} is the most")
    names = {"weight": PARAMETERS.get(type(layer), "weight")}
    tensors = [
        TensorEntry(role, DTYPES[precision], array.shape, _stored(array, precision))
        for role in gan_file.ROLES
        if (array := weights.get(f"{layer.name}.{names.get(role, role)}")) is not None
    ]
    return Record(
        number,
        layer.name,
        [values[name] for name in layer.inputs],
        tensors,
        {key: (number,) for key, number in integers.items()},
        {**{key: (number,) for key, number in reals.items()}, **ranges},
    )


def operation(layer: Layer) -> int | None:
    """Return the number of a layer's operation, None if the format has none."""
    return native_volumes.operation(layer) or OPERATIONS.get(type(layer))


def attributes(layer: Layer) -> tuple[dict[str, int], dict[str, float]]:
    """Return the integer and the real attributes of a layer's record, one number each."""
    match layer:
        case ConvNd() | ConvTransposeNd() | UpsampleNd() | Reshape(shape=(_, _, _, _)):
            return native_volumes.attributes(layer), {}
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
        case Reshape(shape=(channels, length)):  # a signal is an image of height 1
            return {"channels": channels, "height": 1, "width": length}, {}
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
        case InstanceNorm(channels=c, eps=eps, affine=affine):
            return {"channels": c, "affine": int(affine)}, {"eps": eps}
        case Pad(size=size, mode=mode):
            return {"size": size, "mode": PADS.index(mode)}, {}
        case PReLU(slopes=n):
            return {"slopes": n}, {}
        case PixelShuffle(factor=f) | PixelUnshuffle(factor=f):
            return {"factor": f}, {}
        case BlurDown(channels=c) | BlurUp(channels=c):
            return {"channels": c}, {}
        case PixelNorm(eps=eps):
            return {}, {"eps": eps}
        case Demodulate(in_features=i, out_features=o, eps=eps):
            return {"in": i, "out": o}, {"eps": eps}
        case ModulatedConstant(shape=(c, h, w)):
            return {"channels": c, "height": h, "width": w}, {}
        case ChannelBias(channels=c):
            return {"channels": c}, {}
        case AddPlane(height=h, width=w):
            return {"height": h, "width": w}, {}
        case AvgPool(size=size) | MaxPool(size=size):
            return {"size": size}, {}
        case Truncate(features=n):
            return {"features": n}, {}
        case Row(index=index):
            return {"index": index}, {}
        case Channels(start=start, count=count):
            return {"start": start, "count": count}, {}
        case GroupedConv(in_channels=i, out_channels=o, kernel=k, groups=g, padding=p):
            return {"in": i, "out": o, "kernel": k, "groups": g, "padding": p}, {}
        case GroupedConvTranspose(in_channels=i, out_channels=o, kernel=k, groups=g, stride=s, padding=p):
            return {"in": i, "out": o, "kernel": k, "groups": g, "stride": s, "padding": p}, {}
        case Clamp(low=low, high=high):
            return {}, {"low": low, "high": high}
        case Dropout(rate=rate, threshold=threshold):
            return {}, {"threshold": threshold, "scale": 1.0 / (1.0 - rate)}
    return {}, {}


NATIVE = Native()
