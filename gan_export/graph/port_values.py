"""The values of a port: its stream in the law of latents, and what it has for a seed and image indices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_export import latents
from gan_export.errors import GanExportError, printable
from gan_export.graph.ports import Port, typed, want
from gan_export.graph.probes import probe_bytes

Array = npt.NDArray[Any]


def drawn(port: Port, seed: int, index: npt.NDArray[np.uint64], dims: tuple[int, ...], choice: Any) -> Array:
    """Return the values of an input for (seed, index), (N, *dims) of the port's type."""
    assert port.stream is not None
    if port.kind == "label":
        return _labels(port, seed, index, choice)
    if choice is not None:
        raise GanExportError(f"{port.name}: {printable(str(choice))!r} is no array; only labels are chosen by a word")
    shape = (len(index), *dims)
    if port.prior is not None:
        values = latents.draw_table(seed, index, math.prod(dims), port.prior.table(), port.stream)
        return values.reshape(shape).astype(port.dtype)
    if port.kind == "scalar":
        low, high = port.range or (1.0, 1.0)
        return np.full(shape, min(max(1.0, low), high), port.dtype)
    return _probe(port, seed, index, dims)


def _labels(port: Port, seed: int, index: npt.NDArray[np.uint64], choice: Any) -> Array:
    if choice not in (None, "all", "random"):
        raise GanExportError(f"{port.name}: {printable(str(choice))!r} is no choice; all and random are")
    if choice == "random":
        if port.stream != latents.STREAM_LABELS:
            raise GanExportError(f"{port.name}: only the first label of a generator can be random; give it values")
        chosen = latents.labels_at(seed, index, port.classes)
    else:
        chosen = latents.labels_in_turn(index, port.classes)
    return chosen if not port.shape else np.eye(port.classes, dtype=np.float32)[chosen]


def _probe(port: Port, seed: int, index: npt.NDArray[np.uint64], dims: tuple[int, ...]) -> Array:
    """Return probes in the port's layout, type and range ([-1, 1] if it has none)."""
    layout = str(port.layout)
    if layout:
        channels = dims[port.axis("C")]
        letters = [x for x in layout if x != "C"]
        stack = probe_bytes(seed, index, channels, tuple(dims[port.axis(x)] for x in letters), port.stream or 0)
        pixels = np.moveaxis(stack, 1, 1 + port.axis("C"))
    else:
        pixels = probe_bytes(seed, index, 1, (math.prod(dims),), port.stream or 0).reshape(len(index), *dims)
    if port.dtype in ("uint8", "int64"):
        return np.ascontiguousarray(pixels).astype(port.dtype)
    low, high = port.range or (-1.0, 1.0)
    table = (np.arange(256, dtype=np.float64) * (high - low) / 255.0 + low).astype(port.dtype)
    return np.ascontiguousarray(table[pixels])


def with_streams(inputs: Sequence[Port]) -> tuple[Port, ...]:
    """Assign a stream, by kind and in order, to each input that has none; no two inputs have the same stream."""
    taken = {p.stream for p in inputs if p.stream is not None}
    want(len(taken) == sum(p.stream is not None for p in inputs), "two inputs read the same stream")
    result = []
    for port in inputs:
        if port.stream is None:
            stream = next((s for s in _streams_for(port) if s not in taken), None)
            if stream is None:
                raise GanExportError(f"port {port.name}: more inputs of its kind than there are streams for")
            taken.add(stream)
            port = replace(port, stream=stream)  # noqa: PLW2901
        result.append(port)
    return tuple(result)


def _streams_for(port: Port) -> Iterable[int]:
    """Return the streams that a port of this kind may have, in order of preference."""
    match port.kind:
        case "latent" | "style":
            return (latents.STREAM_LATENTS, *latents.STREAM_FURTHER)
        case "label":
            return (latents.STREAM_LABELS, *latents.STREAM_FURTHER)
        case "noise":
            return latents.STREAM_NOISE
    return latents.STREAM_FURTHER if port.prior is not None else latents.STREAM_PROBES


def image_indices(indices: npt.ArrayLike | range) -> npt.NDArray[np.uint64]:
    """Return image indices as an array (N,).  Raises GanExportError unless they are one or more integers >= 0."""
    if isinstance(indices, range) and indices.step == 1:
        latents.check(0, indices.start, len(indices))
        return np.uint64(indices.start) + np.arange(len(indices), dtype=np.uint64)
    array = np.asarray(indices)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iu" or array.min() < 0:
        raise GanExportError("image indices are a list of at least one whole number, 0 to 2^64-1")
    return array.astype(np.uint64)


def spread(port: Port, value: npt.ArrayLike, count: int) -> Array:
    """Return `value` (N, ...) unchanged, or the value of one image repeated `count` times."""
    array = typed(port, value)
    return np.broadcast_to(array, (count, *array.shape)) if array.ndim == len(port.shape) else array
