"""Write what the functions of several layers have in common: shapes, products, the ranges that a kernel reaches."""

from __future__ import annotations

from gan_export._lib.escape import C, Text, c, c_numbers
from gan_export.exporters.c.plan import PANEL, Grid
from gan_export.graph.layers import Conv, ConvNd, ConvTranspose, ConvTransposeNd, Linear


def shape(g: Grid) -> Text[C]:
    """Return [4][4][512], or [100] for a vector, or [4][4][4][512] for a volume."""
    if g.d > 1:
        return c("[{g.d}][{g.h}][{g.w}][{g.c}]", g=g)
    return c("[{g.c}]", g=g) if (g.h, g.w) == (1, 1) else c("[{g.h}][{g.w}][{g.c}]", g=g)


def number(value: float) -> Text[C]:
    """Return a float32 literal that C reads back exactly."""
    return c_numbers([float(value)])


def pixels(g: Grid) -> Text[C]:
    """Return the number of pixels as a product."""
    return c("{g.d} * {g.h} * {g.w}", g=g) if g.d > 1 else c("{g.h} * {g.w}", g=g)


def times(g: Grid) -> Text[C]:
    """Return the number of values as a product."""
    if g.d * g.h * g.w == 1:
        return c("{n}", n=g.c)
    return c("{pixels} * {channels}", pixels=pixels(g), channels=g.c)


def product(own: Text[C], depth: int, size: Text[C], precision: str) -> Text[C]:
    """Return the call for one tap and panel; `size`: rows and columns of pixels."""
    units = c("weights->{own}_unit + panel, ", own=own) if precision == "int8" else c("")
    return c("product(from, w, {units}{depth}, to, count, {size});", depth=depth, size=size, units=units)


def count(out: int) -> Text[C]:
    """Return the number of channels in the panel that begins at `panel`."""
    return (
        c("{n}", n=PANEL)
        if out % PANEL == 0
        else c("{out} - panel < {PANEL} ? {out} - panel : {PANEL}", PANEL=PANEL, out=out)
    )


def begin(layer: Linear | Conv | ConvTranspose | ConvNd | ConvTransposeNd, own: Text[C], out: Grid) -> Text[C]:
    """Return the statement that begins a layer's sums: with its bias, or with zeros."""
    if layer.bias:
        return c("begin(weights->{own}_bias, {pixels}, {out.c}, y);", out=out, own=own, pixels=pixels(out))
    return c("clear(y, {n});", n=times(out))


def type_name(precision: str) -> Text[C]:
    """Return the C type of the weights of products."""
    return {"fp32": c("float"), "fp16": c("uint16_t"), "int8": c("int8_t")}[precision]


def reach(kernel: int, stride: int, padding: int, strided: int, counted: int) -> list[tuple[int, int]]:
    """Return, per element of a kernel's side, the range of i < counted with 0 <= stride*i+element-padding < strided."""
    ranges = []
    for element in range(kernel):
        first = max(0, -((element - padding) // stride))
        last = min(counted, (strided - 1 + padding - element) // stride + 1)
        ranges.append((first, max(last, 0)))
    return ranges


def table(reached: list[tuple[int, int]], end: int) -> Text[C]:
    """Return the first (0) or last (1) ends of ranges as an initializer."""
    return c("{{{elements}}}", elements=c_numbers(r[end] for r in reached))
