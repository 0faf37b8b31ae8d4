"""Describe one input or output of a generator as data: `Port`, its prior, and its symbolic sizes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from gan_export import latents
from gan_export.errors import GanExportError, printable

Dim = int | str
Kind = Literal["latent", "style", "label", "scalar", "noise", "image", "volume", "video", "audio", "values"]
Dtype = Literal["float32", "float16", "int64", "uint8"]

LAYOUTS: Mapping[str, tuple[str, ...]] = {  # dimensions of one image, without N; the first layout is the default
    "image": ("CHW", "HWC"),
    "volume": ("CDHW", "DHWC"),
    "video": ("CTHW", "TCHW", "THWC"),
    "audio": ("CT", "TC"),
}
MOST_RANK = 6
MOST_SIDE = 1 << 20
MOST_VALUES = 1 << 28  # values per image in one port
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_DIM = re.compile(r"([A-Za-z][A-Za-z0-9_]{0,15})(?:([*/])([1-9][0-9]{0,3}))?", re.ASCII)
_DTYPES = {"int64": "iu", "uint8": "", "float32": "fi", "float16": "fi"}  # NumPy kinds that are converted to the dtype


@dataclass(frozen=True, slots=True)
class Normal:
    """The prior N(0, 1)."""

    def table(self) -> npt.NDArray[np.float32]:
        """Return the value for each 16-bit random number, float32 (65536,)."""
        return latents.normal_table()


@dataclass(frozen=True, slots=True)
class Uniform:
    """The prior U(low, high); low = high is a constant."""

    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        want(_finite(self.low) and _finite(self.high) and self.low <= self.high, "a uniform prior has low <= high")

    def table(self) -> npt.NDArray[np.float32]:
        """Return the value for each 16-bit random number, float32 (65536,)."""
        return latents.uniform_table(float(self.low), float(self.high))


@dataclass(frozen=True, slots=True)
class TruncatedNormal:
    """The prior N(0, 1) restricted to -bound .. bound, which BigGAN is sampled with."""

    bound: float

    def __post_init__(self) -> None:
        want(_finite(self.bound) and self.bound >= 0.01, "a truncated normal prior has a bound of at least 0.01")

    def table(self) -> npt.NDArray[np.float32]:
        """Return the value for each 16-bit random number, float32 (65536,)."""
        return latents.truncated_normal_table(float(self.bound))


Prior = Normal | Uniform | TruncatedNormal


@dataclass(frozen=True, slots=True)
class Size:
    """A set of values that a symbolic size may have: multiples of `multiple` from `least` to `most`."""

    least: int = 1
    multiple: int = 1
    most: int = MOST_SIDE

    def __post_init__(self) -> None:
        want(
            all(type(v) is int for v in (self.least, self.multiple, self.most))
            and 1 <= self.multiple <= self.least <= self.most <= MOST_SIDE
            and self.least % self.multiple == 0,
            f"size {self.least} to {self.most} in steps of {self.multiple}: 1 <= multiple <= least <= most <= 2^20, "
            "and least is a multiple of multiple",
        )

    def nearest(self, value: int) -> int:
        """Return the least allowed value that is at least `value`, or the largest allowed one if there is none."""
        up = -(-max(value, self.least) // self.multiple) * self.multiple
        return min(up, self.most // self.multiple * self.multiple)

    def allows(self, value: int) -> bool:
        return self.least <= value <= self.most and value % self.multiple == 0


@dataclass(frozen=True, slots=True)
class Port:
    """An array that a generator takes or returns; its first dimension, N images, is left out.

    name:    an identifier
    kind:    the role of the array, such as "latent", "label" or "image"
    shape:   each dimension an int, or `S`, `S*k` or `S/k` of a size S of the signature
    dtype:   int64 for a label of shape (), else float32 if not given
    layout:  a letter per dimension for images, volumes, video and audio; "" for other kinds
    prior:   distribution of latents, styles and noise, and of scalars and values that have one
    classes: number of labels; a label is an int64 in 0 .. classes-1, or a one-hot float32 (classes,)
    range:   (low, high) of the values, (0, 255) for uint8; None if nothing bounds them
    stream:  number of the image's stream of random numbers that an input is generated from; if not given, the
             signature assigns one
    """

    name: str
    kind: Kind
    shape: tuple[Dim, ...] = ()
    dtype: Dtype | None = None
    layout: str | None = None
    prior: Prior | None = None
    classes: int = 0
    range: tuple[float, float] | None = None
    stream: int | None = None

    def __post_init__(self) -> None:
        name = printable(str(self.name))
        want(isinstance(self.name, str) and _NAME.fullmatch(self.name) is not None, f"port {name}: not an identifier")
        what = f"port {name}"
        want(self.kind in get_args(Kind), f"{what}: kind {printable(str(self.kind))} is not known")
        if self.dtype is None:
            object.__setattr__(self, "dtype", "int64" if self.kind == "label" and not self.shape else "float32")
        if self.layout is None:
            object.__setattr__(self, "layout", LAYOUTS.get(self.kind, ("",))[0])
        want(self.dtype in get_args(Dtype), f"{what}: dtype {printable(str(self.dtype))} is not known")
        want(
            isinstance(self.shape, tuple) and len(self.shape) <= MOST_RANK and all(map(_is_dim, self.shape)),
            f"{what}: its shape has at most {MOST_RANK} dimensions, each 1 to 2^20, S, S*k or S/k",
        )
        want(math.prod(d for d in self.shape if isinstance(d, int)) <= MOST_VALUES, f"{what}: more than 2^28 values")
        want(self.layout in LAYOUTS.get(self.kind, ("",)), f"{what}: no {self.kind} has the layout {self.layout!r}")
        want(not self.layout or len(self.layout) == len(self.shape), f"{what}: {self.layout} has another rank")
        want(self.prior is None or isinstance(self.prior, Prior), f"{what}: its prior is none")
        want(self.prior is None or self.dtype in ("float32", "float16"), f"{what}: a prior gives floats")
        want(self.stream is None or (type(self.stream) is int and 0 <= self.stream < 8192), f"{what}: stream 0 to 8191")
        self._check_label(what)
        self._check_range(what)

    def _check_label(self, what: str) -> None:
        want(type(self.classes) is int and 0 <= self.classes < 1 << 31, f"{what}: classes are 0 to 2^31-1")
        want((self.classes > 0) == (self.kind == "label"), f"{what}: labels have classes, and nothing else has")
        if self.kind == "label":
            form = (self.dtype, self.shape)
            want(
                form in (("int64", ()), ("float32", (self.classes,))),
                f"{what}: a label is int64 of shape () or float32 of shape (classes,)",
            )

    def _check_range(self, what: str) -> None:
        if self.dtype == "uint8" and self.range is None:
            object.__setattr__(self, "range", (0.0, 255.0))
        if self.range is None:
            return
        ends = tuple(self.range)
        want(len(ends) == 2 and all(map(_finite, ends)) and ends[0] < ends[1], f"{what}: its range is low, high")
        object.__setattr__(self, "range", (float(ends[0]), float(ends[1])))
        want(self.dtype != "uint8" or self.range == (0.0, 255.0), f"{what}: the range of uint8 is 0 to 255")

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of the sizes that the shape depends on."""
        return tuple(dict.fromkeys(dim_parts(d)[0] for d in self.shape if isinstance(d, str)))

    def dims(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Return the shape of one image at these sizes."""
        return tuple(_dim_at(d, sizes) for d in self.shape)

    def as_bytes(self) -> Port:
        """Return this port with uint8 values, channels last; the port itself if it has no layout or is uint8."""
        if not self.layout or self.dtype == "uint8":
            return self
        last = next(x for x in LAYOUTS[self.kind] if x == self.layout.replace("C", "") + "C")
        shape = tuple(d for d, x in zip(self.shape, self.layout, strict=True) if x != "C")
        return replace(self, shape=(*shape, self.shape[self.axis("C")]), layout=last, dtype="uint8", range=(0.0, 255.0))

    def axis(self, letter: str) -> int:
        """Return the axis of the dimension `letter` of the layout, not counting N."""
        return str(self.layout).index(letter)


def made_of_rank(rank: int) -> Kind:
    """Return the kind of an output with `rank` dimensions; its port has the same name.  Raises GanExportError."""
    kinds: Mapping[int, Kind] = {2: "audio", 3: "image", 4: "volume"}
    want(rank in kinds, f"an output of {rank} dimensions: (C, L), (C, H, W) and (C, D, H, W) are made from a latent")
    return kinds[rank]


def dim_parts(dim: Dim) -> tuple[str, int, int]:
    """Return (symbol, multiplier, divisor) of a dimension; for a fixed one ("", its value, 1)."""
    if isinstance(dim, int):
        return "", dim, 1
    match = _DIM.fullmatch(dim)
    assert match is not None
    symbol, sign, factor = match.groups()
    return symbol, int(factor) if sign == "*" else 1, int(factor) if sign == "/" else 1


def size_of(dim: Dim, value: int) -> tuple[str, int] | None:
    """Return (symbol, its value) if the dimension `dim` equals `value`; None if `dim` has no symbol."""
    symbol, times, over = dim_parts(dim)
    return (symbol, value * over // times) if symbol else None


def typed(port: Port, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return `value` as a C-contiguous array of the port's type, without checking its shape.

    A float port takes floats of any width and signed integers, an int64 port takes integers, and a uint8 port takes
    only uint8.  Raises GanExportError for other types, such as uint8 for a float port.
    """
    array = np.asarray(value)
    if array.dtype != port.dtype and array.dtype.kind not in _DTYPES[str(port.dtype)]:
        raise GanExportError(f"{port.name} is {array.dtype}; {port.dtype} is needed")
    return np.asarray(array, port.dtype, order="C")


def port_data(port: Port) -> dict[str, Any]:
    """Return plain data for JSON: name, kind, shape and dtype, and the other fields that are set."""
    data: dict[str, Any] = {"name": port.name, "kind": port.kind, "shape": list(port.shape), "dtype": port.dtype}
    if port.layout:
        data["layout"] = port.layout
    match port.prior:
        case Normal():
            data["prior"] = "normal"
        case Uniform(low, high):
            data["prior"] = {"uniform": [low, high]}
        case TruncatedNormal(bound):
            data["prior"] = {"truncated_normal": bound}
    if port.classes:
        data["classes"] = port.classes
    if port.range is not None:
        data["range"] = list(port.range)
    if port.stream is not None:
        data["stream"] = port.stream
    return data


def ports_from(data: Any, what: str) -> tuple[Port, ...]:
    """Read ports from a parsed list.  Raises GanExportError for other data, including a port with an unknown field."""
    want(isinstance(data, list), f"{what} are a list of ports")
    return tuple(_port_from(d) for d in data)


def size_from(symbol: str, data: Any) -> Size:
    """Read a size from [least, multiple, most].  Raises GanExportError for anything else."""
    want(isinstance(data, list) and len(data) == 3, f"size {printable(symbol)} is [least, multiple, most]")
    return Size(*data)


def _port_from(data: Any) -> Port:
    optional = ("shape", "dtype", "layout", "prior", "classes", "range", "stream")
    check_fields(data, "a port", ("name", "kind"), optional)
    shape, ends = data.get("shape", []), data.get("range")
    want(isinstance(shape, list), "a port's shape is a list")
    want(ends is None or isinstance(ends, list), "a port's range is [low, high]")
    return Port(
        name=data["name"],
        kind=data["kind"],
        shape=tuple(shape),
        dtype=data.get("dtype"),
        layout=data.get("layout"),
        prior=_prior_from(data.get("prior")),
        classes=data.get("classes", 0),
        range=None if ends is None else tuple(ends),
        stream=data.get("stream"),
    )


def _prior_from(data: Any) -> Prior | None:
    match data:
        case None:
            return None
        case "normal":
            return Normal()
        case "uniform":
            return Uniform()
        case {"uniform": [low, high], **rest} if not rest:
            return Uniform(low, high)
        case {"truncated_normal": bound, **rest} if not rest:
            return TruncatedNormal(bound)
    raise GanExportError(
        f"prior {printable(str(data))}: normal, uniform, {{uniform: [low, high]}} and {{truncated_normal: bound}} exist"
    )


def check_fields(data: Any, what: str, required: tuple[str, ...], optional: tuple[str, ...]) -> None:
    """Raise GanExportError unless `data` is a dict of the required fields and perhaps the optional ones."""
    want(isinstance(data, dict), f"{what} is a table")
    for name in required:
        want(name in data, f"{what} lacks {name}")
    for name in data:
        known = ", ".join((*required, *optional))
        want(name in (*required, *optional), f"{what} has no field {printable(str(name))}; it has {known}")


def want(condition: bool, message: str) -> None:
    """Raise GanExportError with `message` unless `condition`."""
    if not condition:
        raise GanExportError(message)


def _is_dim(dim: object) -> bool:
    if isinstance(dim, str):
        return (match := _DIM.fullmatch(dim)) is not None and match[3] != "1"
    return type(dim) is int and 1 <= dim <= MOST_SIDE


def _dim_at(dim: Dim, sizes: Mapping[str, int]) -> int:
    symbol, times, over = dim_parts(dim)
    return sizes[symbol] * times // over if symbol else times


def _finite(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def require_finite(values: npt.NDArray[Any]) -> None:
    """Raise GanExportError if a checkpoint's outputs are not finite."""
    if not np.isfinite(values).all():
        raise GanExportError(
            "the checkpoint itself draws NaN or infinite values; see `gan-export inspect` for its weights"
        )
