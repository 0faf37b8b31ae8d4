"""Write the layers that only move values: Concat, Crop and Reshape."""

from __future__ import annotations

from collections.abc import Mapping

from gan_export._lib.escape import C, Text, c
from gan_export.exporters.c import fragments
from gan_export.exporters.c.layers.base import Place, Writer
from gan_export.graph.layers import Concat, Crop, Reshape


def _concat(at: Place) -> Text[C]:
    out = at.out
    lines = [c("\n    for (int i = 0; i < {pixels}; i++) {{", pixels=fragments.pixels(out))]
    channel = 0
    for n, part in enumerate(at.ins):
        lines.append(
            c(
                "        for (int c = 0; c < {part.c}; c++) y[i * {out.c} + {at} + c] = x{n}[i * {part.c} + c];",
                at=channel,
                n=n,
                out=out,
                part=part,
            )
        )
        channel += part.c
    return c("\n").join([*lines, c("    }")])


def _crop(at: Place) -> Text[C]:
    return c(
        """
    for (int i = 0; i < {out.h}; i++)
        for (int j = 0; j < {out.w} * {out.c}; j++)
            y[i * {out.w} * {out.c} + j] = x[(i + {t}) * {source.w} * {source.c} + {le} * {source.c} + j];""",
        le=at.layer.left,
        out=at.out,
        source=at.source,
        t=at.layer.top,
    )


def _crop_title(layer: Crop) -> Text[C]:
    return c("the part from row {t}, column {le} on", le=layer.left, t=layer.top)


def _reshape(at: Place) -> Text[C]:
    source, out = at.source, at.out
    pixels = source.size // source.c
    return c(
        """
    for (int i = 0; i < {all}; i++)
        for (int c = 0; c < {out.c}; c++) {{
            const int at = c * {pixels} + i; /* in the order of channels, rows, columns */
            y[i * {out.c} + c] = x[at % {pixels} * {source.c} + at / {pixels}];
        }}""",
        all=fragments.pixels(out),
        out=out,
        pixels=pixels,
        source=source,
    )


WRITERS: Mapping[type, Writer] = {
    Concat: Writer(_concat, lambda _: c("concat")),
    Crop: Writer(_crop, _crop_title),
    Reshape: Writer(
        _reshape, lambda _: c("the same numbers in the order of channels, rows, columns, read as another shape")
    ),
}
