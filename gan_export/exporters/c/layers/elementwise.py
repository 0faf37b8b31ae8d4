"""Write the layers that compute each value by itself: Affine, Scale, Add and Multiply."""

from __future__ import annotations

from collections.abc import Mapping

from gan_export._lib.escape import C, Text, c
from gan_export.exporters.c.fragments import number, pixels, times
from gan_export.exporters.c.layers.base import Place, Writer
from gan_export.graph.layers import Add, Affine, Multiply, Scale


def _affine(at: Place) -> Text[C]:
    return c(
        """
    for (int i = 0; i < {pixels}; i++)
        for (int c = 0; c < {out.c}; c++)
            y[i * {out.c} + c] = x[i * {out.c} + c] * weights->{own}_weight[c] + weights->{own}_bias[c];""",
        out=at.out,
        own=at.own,
        pixels=pixels(at.out),
    )


def _scale(at: Place) -> Text[C]:
    return c(
        """
    for (int i = 0; i < {n}; i++) y[i] = x[i] * {factor} + {offset};""",
        factor=number(at.layer.factor),
        n=times(at.out),
        offset=number(at.layer.offset),
    )


def _pair(at: Place) -> Text[C]:
    return c(
        """
    for (int i = 0; i < {n}; i++) y[i] = x0[i] {sign} x1[i];""",
        n=times(at.out),
        sign=c("+") if isinstance(at.layer, Add) else c("*"),
    )


WRITERS: Mapping[type, Writer] = {
    Affine: Writer(_affine, lambda _: c("a factor and a summand for each channel")),
    Scale: Writer(_scale, lambda _: c("scale")),
    Add: Writer(_pair, lambda _: c("add")),
    Multiply: Writer(_pair, lambda _: c("multiply")),
}
