"""Describe the inputs and outputs of a generator: named ports, with everything that a caller must know to feed it.

A spec, a manifest and a session each have a `Signature`; no other module may assume that the input is a latent or
that the output is one image.  Only `Signature.feeds` computes the inputs for a seed, and only `Signature.check` checks
inputs.  docs/latent-rng.md defines the random numbers of each port.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gan_export import images, latents
from gan_export._lib import plaindata
from gan_export.errors import GanExportError, printable
from gan_export.graph.port_values import drawn, image_indices, spread, with_streams
from gan_export.graph.ports import (
    Kind,
    Normal,
    Port,
    Prior,
    Size,
    Uniform,
    check_fields,
    dim_parts,
    made_of_rank,
    port_data,
    ports_from,
    size_from,
    size_of,
    typed,
    want,
)

Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]
LabelChoice = Literal["all", "random"]
MOST_PORTS = 64
USUAL_SIDE = 64  # the value of a free size unless another is given


@dataclass(frozen=True, slots=True)
class Signature:
    """The ports of a generator, in the order of its inputs and of its outputs.

    sizes: symbol of each symbolic size -> the values that it may have; each size is in the shape of an input
    batch: the number of images that a graph is fixed to, None if it takes any number; a session splits any number of
           images into batches of that size
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    sizes: Mapping[str, Size] = field(default_factory=dict, hash=False)
    batch: int | None = None

    def __post_init__(self) -> None:
        want(0 < len(self.inputs) <= MOST_PORTS, f"a signature has 1 to {MOST_PORTS} inputs, not {len(self.inputs)}")
        want(0 < len(self.outputs) <= MOST_PORTS, f"a signature has 1 to {MOST_PORTS} outputs, not {len(self.outputs)}")
        names = [p.name for p in (*self.inputs, *self.outputs)]
        twice = next((n for n in names if names.count(n) > 1), None)
        want(twice is None, f"two ports are called {twice}")
        want("sizes" not in names, "no port can be called sizes")
        want(self.batch is None or (type(self.batch) is int and self.batch > 0), "batch is at least 1")
        sizes = {s: v if isinstance(v, Size) else Size(*v) for s, v in self.sizes.items()}
        object.__setattr__(self, "sizes", sizes)
        object.__setattr__(self, "inputs", with_streams(self.inputs))
        for port in self.inputs:
            drawn = port.kind in ("latent", "style", "noise")
            want(not drawn or port.prior is not None, f"port {port.name}: a {port.kind} that goes in has a prior")
        free = dict.fromkeys(s for p in self.inputs for s in p.symbols)
        for port in self.outputs:
            want(port.prior is None and port.stream is None, f"port {port.name}: no output has a prior or a stream")
            unknown = next((s for s in port.symbols if s not in free), None)
            want(unknown is None, f"port {port.name}: no input has the size {unknown}")
        want(set(sizes) == set(free), f"sizes are stated of {_list(sizes)}, the inputs have {_list(free)}")
        for symbol, _, over in (dim_parts(d) for p in self for d in p.shape if isinstance(d, str)):
            want(
                sizes[symbol].multiple % over == 0, f"{symbol}/{over} is whole only if {symbol} is a multiple of {over}"
            )

    def __iter__(self) -> Iterator[Port]:
        return iter((*self.inputs, *self.outputs))

    @staticmethod
    def of_latent(
        nz: int,
        prior: Prior | Literal["normal", "uniform"],
        image: tuple[int, ...],
        classes: int = 0,
        range: tuple[float, float] | None = (-1.0, 1.0),
    ) -> Signature:
        """Return the signature of a generator from z (nz,), and a label if it has classes, to one output.

        image: the output's shape: `image` (C, H, W), `volume` (C, D, H, W) or `audio` (C, L)
        """
        known: dict[Any, Prior] = {"normal": Normal(), "uniform": Uniform()}
        z = Port("z", "latent", (nz,), prior=known.get(prior, prior))  # type: ignore[arg-type]
        label = (Port("label", "label", classes=classes),) if classes else ()
        kind = made_of_rank(len(image))
        return Signature((z, *label), (Port(kind, kind, image, range=range),))

    def input(self, name: str) -> Port:
        """Return the input called `name`.  Raises GanExportError if there is none."""
        return _named(self.inputs, name, "input")

    def output(self, name: str) -> Port:
        """Return the output called `name`.  Raises GanExportError if there is none."""
        return _named(self.outputs, name, "output")

    def inputs_of(self, *kinds: Kind) -> tuple[Port, ...]:
        return tuple(p for p in self.inputs if p.kind in kinds)

    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the names of the inputs, and of the outputs."""
        return tuple(p.name for p in self.inputs), tuple(p.name for p in self.outputs)

    def usual_sizes(self) -> dict[str, int]:
        """Return the default value of each symbolic size: 64, or the nearest allowed value."""
        return {symbol: size.nearest(USUAL_SIDE) for symbol, size in self.sizes.items()}

    def judged_sizes(self) -> tuple[dict[str, int], ...]:
        """Return the sizes to verify an export at; only {} if the signature has no symbolic size.

        They are the usual sizes, sizes that differ from each other, and the smallest sizes.
        """
        unlike = {
            symbol: size.nearest(USUAL_SIDE + (i + 1) * max(size.multiple, 16))
            for i, (symbol, size) in enumerate(self.sizes.items())
        }
        least = {symbol: size.least for symbol, size in self.sizes.items()}
        found = (self.usual_sizes(), unlike, least)
        return tuple(s for i, s in enumerate(found) if s not in found[:i])

    def feeds(
        self,
        seed: int,
        indices: npt.ArrayLike | range,
        /,
        *,
        sizes: Mapping[str, int] | None = None,
        **given: npt.ArrayLike | LabelChoice,
    ) -> dict[str, Array]:
        """Return every input of the images `indices` (N,) of `seed`, by name, in the order of the inputs: (N, ...).

        The inputs of an image depend only on (seed, index, sizes).  An input with a prior is sampled from it by the
        latent law; image i has label i mod classes; images, and values without a prior, are probes; a scalar without
        a prior is 1, or the nearest value in its range.

        given: the values of an input, (N, ...) or one value for all images; for a label also "all" (i mod classes)
               and "random"
        sizes: values of symbolic sizes, by default `usual_sizes`; the sizes of given arrays override both
        """
        latents.check(seed, 0, 0)
        index = image_indices(indices)
        unknown = next((name for name in given if name not in {p.name for p in self.inputs}), None)
        if unknown is not None:
            raise GanExportError(
                f"no input is called {printable(unknown)}; there are {_list(p.name for p in self.inputs)}"
            )
        arrays = {
            p.name: spread(p, given[p.name], len(index))
            for p in self.inputs
            if p.name in given and not isinstance(given[p.name], str)
        }
        at = self._checked_sizes({**self.usual_sizes(), **(sizes or {}), **self.sizes_of(arrays)})
        for port in self.inputs:
            if port.name not in arrays:
                arrays[port.name] = drawn(port, seed, index, port.dims(at), given.get(port.name))
        return self.check({p.name: arrays[p.name] for p in self.inputs})

    def check(self, feeds: Feeds) -> dict[str, Array]:
        """Return `feeds` as C-contiguous arrays of the ports' types, in the order of the inputs.

        Floats of another width are converted.  Raises GanExportError, naming the first port that doesn't fit, unless
        `feeds` has exactly the inputs' names, N is at least 1 and the same for all, the sizes agree and are allowed,
        and labels are 0 to classes-1.  Values are not compared with the ports' ranges.
        """
        lacking = [p.name for p in self.inputs if p.name not in feeds]
        extra = [name for name in feeds if name not in {p.name for p in self.inputs}]
        if lacking or extra:
            names = _list(p.name for p in self.inputs)
            raise GanExportError(f"feeds of {_list(feeds) or 'nothing'}; this generator takes {names}")
        arrays = {p.name: typed(p, feeds[p.name]) for p in self.inputs}
        self._checked_sizes(self.sizes_of(arrays))
        counts = {name: len(array) for name, array in arrays.items()}
        if len(set(counts.values())) != 1 or 0 in counts.values():
            each = ", ".join(f"{n} of {name}" for name, n in counts.items())
            raise GanExportError(f"feeds of different lengths, or empty: {each}")
        for port in self.inputs_of("label"):
            _check_labels(port, arrays[port.name])
        return arrays

    def sizes_of(self, feeds: Feeds) -> dict[str, int]:
        """Return the symbolic sizes that arrays (N, ...) of inputs have.  Raises GanExportError if they disagree."""
        found: dict[str, int] = {}
        for port in (p for p in self.inputs if p.name in feeds):
            shape = feeds[port.name].shape[1:]
            sides = [size_of(d, n) for d, n in zip(port.shape, shape, strict=False)]
            for symbol, size in (s for s in sides if s is not None):
                found.setdefault(symbol, size)
            at = {s: found.get(s, 0) for s in port.symbols}
            if feeds[port.name].ndim != 1 + len(port.shape) or port.dims(at) != shape:
                raise GanExportError(
                    f"{port.name} of shape {feeds[port.name].shape}; {self.describe(port, at)} is needed"
                )
        return found

    @property
    def is_sampled(self) -> bool:
        """Whether a seed determines the images: no input is an image or another array that the caller must provide."""
        return all(p.prior is not None or p.kind in ("label", "scalar") for p in self.inputs)

    def output_shapes(self, count: int, sizes: Mapping[str, int] | None = None) -> dict[str, tuple[int, ...]]:
        """Return the shape (N, ...) of each output for `count` images at `sizes`."""
        at = {**self.usual_sizes(), **(sizes or {})}
        return {p.name: (count, *p.dims(at)) for p in self.outputs}

    def fixed(self, sizes: Mapping[str, int]) -> Signature:
        """Return the signature with `sizes` in place of all its symbols.

        Raises GanExportError for a size that is missing or not allowed.
        """
        at = self._checked_sizes(sizes)
        lacking = next((symbol for symbol in self.sizes if symbol not in at), None)
        want(lacking is None, f"no value is given of the size {lacking}")
        inputs, outputs = ([replace(p, shape=p.dims(at)) for p in ports] for ports in (self.inputs, self.outputs))
        return replace(self, inputs=tuple(inputs), outputs=tuple(outputs), sizes={})

    def as_bytes(self) -> Signature:
        """Return the signature of the same generator with images as bytes, uint8 with channels last."""
        inputs, outputs = (tuple(p.as_bytes() for p in ports) for ports in (self.inputs, self.outputs))
        return replace(self, inputs=inputs, outputs=outputs)

    def feeds_as_bytes(self, feeds: Feeds) -> dict[str, Array]:
        """Return feeds for the signature `as_bytes`: images as the nearest bytes, channels last, others unchanged.

        0 is the lower end of a port's range ([-1, 1] if it has none), 255 the upper end.
        """
        result: dict[str, Array] = dict(feeds)
        for port in self.inputs:
            if port.layout and port.dtype != "uint8":
                low, high = port.range or (-1.0, 1.0)
                steps = (np.asarray(feeds[port.name], np.float64) - low) * (255.0 / (high - low))
                values = np.clip(np.rint(steps), 0.0, 255.0).astype(np.uint8)
                result[port.name] = np.ascontiguousarray(np.moveaxis(values, 1 + port.axis("C"), -1))
        return result

    def to_bytes(self, outputs: Feeds) -> dict[str, Array]:
        """Return outputs of the signature `as_bytes`: float images by the byte rule, others unchanged."""
        result: dict[str, Array] = {}
        for port in self.outputs:
            array = outputs[port.name]
            if port.layout and array.dtype != np.uint8:
                values = images.levels(np.asarray(array, np.float32), port.range)
                array = np.ascontiguousarray(np.moveaxis(values, 1 + port.axis("C"), -1))
            result[port.name] = array
        return result

    def describe(self, port: Port, sizes: Mapping[str, int] | None = None) -> str:
        """Return a port's type as text, such as "float32 (N, 3, H, W), here 3 x 64 x 64"."""
        form = f"{port.dtype} ({', '.join(['N', *map(str, port.shape)])}{',' if not port.shape else ''})"
        known = sizes is not None and all(sizes.get(s) for s in port.symbols)
        return form + (f", here {' x '.join(map(str, port.dims(sizes or {})))}" if known and port.symbols else "")

    def _checked_sizes(self, sizes: Mapping[str, int]) -> dict[str, int]:
        for symbol, value in sizes.items():
            if symbol not in self.sizes:
                raise GanExportError(f"no size is called {printable(symbol)}; there are {_list(self.sizes) or 'none'}")
            if not (allowed := self.sizes[symbol]).allows(value):
                steps = f"a multiple of {allowed.multiple} " if allowed.multiple > 1 else ""
                raise GanExportError(f"{symbol} is {value}; it must be {steps}from {allowed.least} to {allowed.most}")
        return dict(sizes)

    def to_data(self) -> dict[str, Any]:
        """Return plain data for JSON or TOML; `from_data` reads it back to an equal signature."""
        data: dict[str, Any] = {
            "inputs": [port_data(p) for p in self.inputs],
            "outputs": [port_data(p) for p in self.outputs],
        }
        if self.sizes:
            data["sizes"] = {s: [v.least, v.multiple, v.most] for s, v in self.sizes.items()}
        if self.batch is not None:
            data["batch"] = self.batch
        return data

    @staticmethod
    def from_data(data: Any) -> Signature:
        """Read a signature from parsed JSON or TOML.  Raises GanExportError for other data, also for unknown fields."""
        check_fields(data, "a signature", ("inputs", "outputs"), ("sizes", "batch"))
        want(_is_of_64_bits(data), "its whole numbers are of 64 bits")
        sizes = data.get("sizes", {})
        want(isinstance(sizes, dict), "sizes are a table of [least, multiple, most]")
        return Signature(
            ports_from(data["inputs"], "inputs"),
            ports_from(data["outputs"], "outputs"),
            {s: size_from(s, v) for s, v in sizes.items()},
            data.get("batch"),
        )

    def to_json(self) -> str:
        """Return one line of JSON with sorted keys, which is the same for equal signatures."""
        return json.dumps(self.to_data(), sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Signature:
        """Read what `to_json` wrote.  Raises GanExportError for anything else."""
        try:
            data = plaindata.from_json(text)
        except ValueError as e:
            raise GanExportError(f"the signature is not JSON: {printable(str(e))}") from None
        return Signature.from_data(data)


def _is_of_64_bits(data: Any) -> bool:
    """Return whether each integer in parsed JSON or TOML is within 64 bits."""
    if isinstance(data, dict):
        return all(map(_is_of_64_bits, data.values()))
    if isinstance(data, list):
        return all(map(_is_of_64_bits, data))
    return not isinstance(data, int) or -(2**63) <= data < 2**63


def _check_labels(port: Port, labels: Array) -> None:
    if not port.shape and not (labels.min() >= 0 and labels.max() < port.classes):
        wrong = next(int(v) for v in labels if not 0 <= v < port.classes)
        raise GanExportError(f"{port.name} {wrong}: must be 0 to {port.classes - 1}")


def _named(ports: tuple[Port, ...], name: str, what: str) -> Port:
    found = next((p for p in ports if p.name == name), None)
    if found is None:
        raise GanExportError(f"no {what} is called {printable(name)}; there are {_list(p.name for p in ports)}")
    return found


def _list(names: Iterable[str]) -> str:
    return printable(", ".join(map(str, names)))
