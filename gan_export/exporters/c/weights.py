"""Arrange a generator's weights for the C source: a struct of arrays, in panels of output channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gan_export._lib.escape import C, Text, c
from gan_export.errors import GanExportError, printable
from gan_export.exporters.c.plan import PANEL, Plan, is_folded
from gan_export.graph.layers import Conv, ConvNd, ConvTranspose, ConvTransposeNd, Embedding, Layer, Linear

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[np.float32] | npt.NDArray[np.uint16] | npt.NDArray[np.int8]
Product = Linear | Conv | ConvTranspose | ConvNd | ConvTransposeNd
TYPES: Mapping[str, str] = {"fp32": "float", "fp16": "uint16_t", "int8": "int8_t"}


@dataclass(frozen=True, slots=True)
class Member:
    """An array of the struct.  `comment` states its shape."""

    layer: str
    part: str
    values: Array
    comment: Text[C]


def members(plan: Plan, weights: Mapping[str, Floats], precision: str) -> list[Member]:
    """Return all arrays, floats first so that the struct has no holes.

    Raises GanExportError for values above fp16's range.
    """
    found: list[Member] = []
    for step in plan.steps:
        layer = step.layer
        for part in ("weight", "bias", "filt"):
            values = weights.get(f"{layer.name}.{part}")
            if values is None:
                continue
            if part == "weight" and isinstance(layer, Linear | Conv | ConvTranspose | ConvNd | ConvTransposeNd):
                found += _packed(layer, _matrix(plan, layer, values), precision)
            elif part == "filt":  # (C, 1, k, k), read by the element of the kernel
                taps = values.reshape(len(values), -1).T
                found.append(_member(layer, part, taps, c("[{n}][{channels}]", channels=len(values), n=len(taps))))
            elif part == "bias" and layer.name in plan.flattened:
                found.append(_member(layer, part, values[_order(plan, layer.name)], c("[{n}]", n=len(values))))
            else:
                shape = c("[{n}]", n=len(values))
                if isinstance(layer, Embedding):
                    shape = c("[{classes}][{dim}]", classes=layer.classes, dim=layer.dim)
                found.append(_member(layer, part, values.ravel(), shape))
    return sorted(found, key=lambda m: -m.values.itemsize)


def _member(layer: Layer, part: str, values: Floats, comment: Text[C]) -> Member:
    return Member(layer.name, part, np.ascontiguousarray(values, np.float32), comment)


def _order(plan: Plan, name: str) -> npt.NDArray[np.intp]:
    """Return, for each [row][column][channel] of the image, the row of the Linear layer that computes it."""
    to = plan.flattened[name]
    return np.arange(to.size).reshape(to.c, to.d, to.h, to.w).transpose(1, 2, 3, 0).ravel()


def _matrix(plan: Plan, layer: Product, weight: Floats) -> tuple[Floats, Text[C]]:
    """Return (taps, in, out) and the name of the taps; the weights of each tap are one product."""
    match layer:
        case Linear(name=name):
            rows = weight[_order(plan, name)] if name in plan.flattened else weight
            return rows.T[None], c("")
        case ConvTransposeNd() | ConvNd():
            return _matrix_nd(layer, weight)
        case ConvTranspose(kernel=k):
            taps = weight.transpose(2, 3, 0, 1)  # (k, k, in, out)
        case Conv(kernel=k):
            taps = weight.transpose(2, 3, 1, 0)
            if is_folded(layer):
                taps = taps[::-1, ::-1]
    if is_folded(layer):
        return taps.transpose(2, 0, 1, 3).reshape(1, taps.shape[2], -1), c("{k} * {k} * {n}", k=k, n=layer.out_channels)
    return taps.reshape(k * k, *taps.shape[2:]), c("[{k} * {k}]", k=k)


def _matrix_nd(layer: ConvNd | ConvTransposeNd, weight: Floats) -> tuple[Floats, Text[C]]:
    """Return the same of a convolution of volumes or signals."""
    sides = tuple(range(2, weight.ndim))
    inside, outside = (0, 1) if isinstance(layer, ConvTransposeNd) else (1, 0)
    taps = weight.transpose(*sides, inside, outside)  # (*kernel, in, out)
    name = c(" * ").join(c("{k}", k=k) for k in layer.kernel)
    if not is_folded(layer):
        return taps.reshape(-1, *taps.shape[-2:]), c("[{name}]", name=name)
    if isinstance(layer, ConvNd):
        taps = np.flip(taps, tuple(range(len(sides))))
    rows = np.moveaxis(taps, -2, 0).reshape(1, taps.shape[-2], -1)
    return rows, c("{name} * {n}", name=name, n=layer.out_channels)


def _packed(layer: Product, matrix: tuple[Floats, Text[C]], precision: str) -> list[Member]:
    taps, of = matrix
    count, depth, out = taps.shape
    panels = -(-out // PANEL)
    padded = np.zeros((count, depth, panels * PANEL), np.float32)
    padded[:, :, :out] = taps
    shape = c("[{panels}]{of}[{depth}][{n}]", panels=panels, of=of, depth=depth, n=PANEL)
    if is_folded(layer):
        shape = c("[{panels}][{depth}][{n}]  {of} columns in panels of {n}", panels=panels, depth=depth, n=PANEL, of=of)

    def panel(values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        return values.reshape(count, depth, panels, PANEL).transpose(2, 0, 1, 3).ravel()

    match precision:
        case "fp16":
            with np.errstate(over="ignore"):
                half = padded.astype("<f2")
            if not np.isfinite(half).all() and np.isfinite(padded).all():
                raise GanExportError(
                    f"layer {printable(layer.name)} has a weight too large for fp16 (above 65504); use fp32"
                )
            return [Member(layer.name, "weight", panel(half.view("<u2")), shape)]  # type: ignore[arg-type]
        case "int8":
            unit = np.abs(padded).max(axis=(0, 1)) / np.float32(127)
            whole = np.rint(padded / np.where(unit > 0, unit, 1)).astype(np.int8)
            units = Member(layer.name, "unit", unit.astype(np.float32), c("[{panels}][{n}]", panels=panels, n=PANEL))
            return [units, Member(layer.name, "weight", panel(whole), shape)]  # type: ignore[arg-type]
    return [Member(layer.name, "weight", panel(padded), shape)]  # type: ignore[arg-type]
