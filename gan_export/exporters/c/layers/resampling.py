"""Write the layers that change the number of rows and columns: Upsample."""

from __future__ import annotations

from collections.abc import Mapping

from gan_export._lib.escape import C, Text, c, c_identifier
from gan_export.exporters.c.layers.base import Place, Writer
from gan_export.exporters.c.plan import Grid
from gan_export.graph.layers import Upsample


def _upsample(at: Place) -> Text[C]:
    write = _nearest if at.layer.mode == "nearest" else _bilinear
    return write(at.layer.factor, at.source, at.out)


def _nearest(f: int, source: Grid, out: Grid) -> Text[C]:
    return c(
        """
    for (int i = 0; i < {out.h}; i++)
        for (int j = 0; j < {out.w}; j++)
            for (int c = 0; c < {out.c}; c++)
                y[(i * {out.w} + j) * {out.c} + c] = x[(i / {f} * {source.w} + j / {f}) * {out.c} + c];""",
        f=f,
        out=out,
        source=source,
    )


def _bilinear(f: int, source: Grid, out: Grid) -> Text[C]:
    return c(
        """
    /* output i lies at (i + 0.5) / {f} - 0.5 of the input, held within it */
    for (int i = 0; i < {out.h}; i++) {{
        const float down = ((float)i + 0.5f) / {f}.0f - 0.5f, row = down > 0 ? down : 0;
        const int above = (int)row, below = above + 1 < {source.h} ? above + 1 : above;
        for (int j = 0; j < {out.w}; j++) {{
            const float across = ((float)j + 0.5f) / {f}.0f - 0.5f, column = across > 0 ? across : 0;
            const int left = (int)column, right = left + 1 < {source.w} ? left + 1 : left;
            const float lower = row - (float)above, later = column - (float)left;
            const float *a = x + (above * {source.w} + left) * {out.c}, *b = x + (above * {source.w} + right) * {out.c};
            const float *c = x + (below * {source.w} + left) * {out.c}, *d = x + (below * {source.w} + right) * {out.c};
            float *to = y + (i * {out.w} + j) * {out.c};
            for (int n = 0; n < {out.c}; n++) {{
                const float first = a[n] + (c[n] - a[n]) * lower, second = b[n] + (d[n] - b[n]) * lower;
                to[n] = first + (second - first) * later;
            }}
        }}
    }}""",
        f=f,
        out=out,
        source=source,
    )


def _title(layer: Upsample) -> Text[C]:
    return c("{f} times as high and wide, {mode}", f=layer.factor, mode=c_identifier(layer.mode))


WRITERS: Mapping[type, Writer] = {Upsample: Writer(_upsample, _title)}
