"""Write the layers of generators that take images: norms of an image, padding, blurs and the like."""

from __future__ import annotations

from collections.abc import Mapping

from gan_export._lib.escape import C, Text, c, c_identifier
from gan_export.exporters.c.fragments import number, times
from gan_export.exporters.c.layers.base import Place, Writer
from gan_export.graph.layers import (
    BlurDown,
    BlurUp,
    Clamp,
    Dropout,
    InstanceNorm,
    Pad,
    PixelShuffle,
    PixelUnshuffle,
    PReLU,
)


def _instance_norm(at: Place) -> Text[C]:
    weighted = at.layer.affine
    return c(
        """
    double mean[{out.c}] = {{0}}, spread[{out.c}] = {{0}};
    float scale[{out.c}], shift[{out.c}];
    for (int i = 0; i < {pixels}; i++)
        for (int c = 0; c < {out.c}; c++) mean[c] += x[i * {out.c} + c];
    for (int c = 0; c < {out.c}; c++) mean[c] /= {pixels};
    for (int i = 0; i < {pixels}; i++)
        for (int c = 0; c < {out.c}; c++) {{
            const double apart = x[i * {out.c} + c] - mean[c];
            spread[c] += apart * apart;
        }}
    for (int c = 0; c < {out.c}; c++) {{
        const double unit = 1.0 / sqrt(spread[c] / {pixels} + {eps}){times};
        scale[c] = (float)unit;
        shift[c] = (float)({plus}-mean[c] * unit);
    }}
    for (int i = 0; i < {pixels}; i++)
        for (int c = 0; c < {out.c}; c++) y[i * {out.c} + c] = x[i * {out.c} + c] * scale[c] + shift[c];""",
        eps=number(at.layer.eps),
        out=at.out,
        pixels=c("({g.h} * {g.w})", g=at.out),
        plus=c("weights->{own}_bias[c] ", own=at.own) if weighted else c(""),
        times=c(" * weights->{own}_weight[c]", own=at.own) if weighted else c(""),
    )


def _inside(mode: str, name: str, side: int) -> Text[C]:
    """Return the row or column of the image that padding takes for one beyond its edge."""
    i = c_identifier(name)
    if mode == "reflect":
        return c("{i} < 0 ? -{i} : {i} >= {side} ? {last} - {i} : {i}", i=i, last=2 * side - 2, side=side)
    return c("{i} < 0 ? 0 : {i} >= {side} ? {last} : {i}", i=i, last=side - 1, side=side)


def _pad(at: Place) -> Text[C]:
    size, mode, g = at.layer.size, at.layer.mode, at.source
    if mode == "zeros":
        return c(
            """
    for (int i = 0; i < {n}; i++) y[i] = 0;
    for (int i = 0; i < {g.h}; i++)
        memcpy(y + ((i + {size}) * {out.w} + {size}) * {g.c}, x + i * {row}, {row} * sizeof *y);""",
            g=g,
            n=times(at.out),
            out=at.out,
            row=g.w * g.c,
            size=size,
        )
    return c(
        """
    for (int i = 0; i < {out.h}; i++) {{
        const int up = i - {size}, row = {row};
        for (int j = 0; j < {out.w}; j++) {{
            const int left = j - {size}, column = {column};
            memcpy(y + (i * {out.w} + j) * {g.c}, x + (row * {g.w} + column) * {g.c}, {g.c} * sizeof *y);
        }}
    }}""",
        column=_inside(mode, "left", g.w),
        g=g,
        out=at.out,
        row=_inside(mode, "up", g.h),
        size=size,
    )


def _pixel_shuffle(at: Place) -> Text[C]:
    return c(
        """
    for (int i = 0; i < {out.h}; i++)
        for (int j = 0; j < {out.w}; j++) {{
            const float *from = x + (i / {r} * {source.w} + j / {r}) * {source.c} + i % {r} * {r} + j % {r};
            for (int c = 0; c < {out.c}; c++) y[(i * {out.w} + j) * {out.c} + c] = from[c * {square}];
        }}""",
        out=at.out,
        r=at.layer.factor,
        source=at.source,
        square=at.layer.factor**2,
    )


def _pixel_unshuffle(at: Place) -> Text[C]:
    return c(
        """
    for (int i = 0; i < {source.h}; i++)
        for (int j = 0; j < {source.w}; j++) {{
            float *to = y + (i / {r} * {out.w} + j / {r}) * {out.c} + i % {r} * {r} + j % {r};
            for (int c = 0; c < {source.c}; c++) to[c * {square}] = x[(i * {source.w} + j) * {source.c} + c];
        }}""",
        out=at.out,
        r=at.layer.factor,
        source=at.source,
        square=at.layer.factor**2,
    )


def _blur_down(at: Place) -> Text[C]:
    return c(
        """
    for (int i = 0; i < {out.h}; i++)
        for (int j = 0; j < {out.w}; j++) {{
            float *to = y + (i * {out.w} + j) * {out.c};
            for (int c = 0; c < {out.c}; c++) to[c] = 0;
            for (int k = 0; k < 9; k++) {{
                const int up = 2 * i + k / 3 - 1, row = {row};
                const int left = 2 * j + k % 3 - 1, column = {column};
                const float *from = x + (row * {source.w} + column) * {out.c}, *w = weights->{own}_filt + k * {out.c};
                for (int c = 0; c < {out.c}; c++) to[c] += from[c] * w[c];
            }}
        }}""",
        column=_inside("reflect", "left", at.source.w),
        out=at.out,
        own=at.own,
        row=_inside("reflect", "up", at.source.h),
        source=at.source,
    )


def _blur_up(at: Place) -> Text[C]:
    return c(
        """
    /* Row i takes the rows (i + 1 - ky) / 2 of x for which that is whole. */
    for (int i = 0; i < {out.h}; i++)
        for (int j = 0; j < {out.w}; j++) {{
            float *to = y + (i * {out.w} + j) * {out.c};
            for (int c = 0; c < {out.c}; c++) to[c] = 0;
            for (int ky = (i + 1) % 2; ky < 4; ky += 2)
                for (int kx = (j + 1) % 2; kx < 4; kx += 2) {{
                    const int up = (i + 3 - ky) / 2 - 1, row = {row};
                    const int left = (j + 3 - kx) / 2 - 1, column = {column};
                    const float *from = x + (row * {source.w} + column) * {out.c};
                    const float *w = weights->{own}_filt + (ky * 4 + kx) * {out.c};
                    for (int c = 0; c < {out.c}; c++) to[c] += from[c] * w[c];
                }}
        }}""",
        column=_inside("replicate", "left", at.source.w),
        out=at.out,
        own=at.own,
        row=_inside("replicate", "up", at.source.h),
        source=at.source,
    )


def _prelu(at: Place) -> Text[C]:
    return c(
        """
    for (int i = 0; i < {out.h} * {out.w}; i++)
        for (int c = 0; c < {out.c}; c++) {{
            const float value = x[i * {out.c} + c];
            y[i * {out.c} + c] = value > 0 ? value : value * weights->{own}_weight[{which}];
        }}""",
        out=at.out,
        own=at.own,
        which=c("0") if at.layer.slopes == 1 else c("c"),
    )


def _clamp(at: Place) -> Text[C]:
    low, high = number(at.layer.low), number(at.layer.high)
    return c(
        """
    for (int i = 0; i < {n}; i++) y[i] = x[i] < {low} ? {low} : x[i] > {high} ? {high} : x[i];""",
        high=high,
        low=low,
        n=times(at.out),
    )


def _dropout(at: Place) -> Text[C]:
    return c(
        """
    for (int i = 0; i < {pixels}; i++) /* x1 is in the order of channels, rows, columns */
        for (int c = 0; c < {out.c}; c++)
            y[i * {out.c} + c] = x1[c * {pixels} + i] > {threshold} ? x0[i * {out.c} + c] * {scale} : 0;""",
        out=at.out,
        pixels=c("({g.h} * {g.w})", g=at.out),
        scale=number(1.0 / (1.0 - at.layer.rate)),
        threshold=number(at.layer.threshold),
    )


def _pad_title(layer: Pad) -> Text[C]:
    return c("{n} rows and columns more on each side: {mode}", mode=c_identifier(layer.mode), n=layer.size)


WRITERS: Mapping[type, Writer] = {
    InstanceNorm: Writer(_instance_norm, lambda _: c("each channel by its mean and variance in this image")),
    Pad: Writer(_pad, _pad_title),
    PixelShuffle: Writer(_pixel_shuffle, lambda la: c("channels become {n} x {n} pixels", n=la.factor)),
    PixelUnshuffle: Writer(_pixel_unshuffle, lambda la: c("{n} x {n} pixels become channels", n=la.factor)),
    BlurDown: Writer(_blur_down, lambda _: c("half as high and wide, blurred")),
    BlurUp: Writer(_blur_up, lambda _: c("twice as high and wide, blurred")),
    PReLU: Writer(_prelu, lambda _: c("a slope for values below 0")),
    Clamp: Writer(_clamp, lambda _: c("values held between two bounds")),
    Dropout: Writer(_dropout, lambda la: c("values are dropped at a rate of {rate:g}", rate=la.rate)),
}
