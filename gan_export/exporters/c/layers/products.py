"""Write the layers that are matrix products: Linear, Conv and ConvTranspose."""

from __future__ import annotations

from collections.abc import Mapping

from gan_export._lib.escape import C, Text, c
from gan_export.exporters.c import fragments
from gan_export.exporters.c.layers.base import Place, Writer
from gan_export.exporters.c.plan import Grid, folded_padding, is_folded, wide
from gan_export.graph.layers import Conv, ConvTranspose, Linear


def _linear_title(layer: Linear) -> Text[C]:
    return c("linear, {inside} -> {outside}", inside=layer.in_features, outside=layer.out_features)


def _conv_title(layer: Conv | ConvTranspose) -> Text[C]:
    return c(
        "{what}, {inside} -> {outside}, kernel {layer.kernel}, stride {layer.stride}, padding {layer.padding}",
        inside=layer.in_channels,
        layer=layer,
        outside=layer.out_channels,
        what=c("transposed convolution") if isinstance(layer, ConvTranspose) else c("convolution"),
    )


def _linear(at: Place) -> Text[C]:
    layer, own, precision = at.layer, at.own, at.precision
    depth, width = layer.in_features, layer.out_features
    vector = Grid(1, 1, width)
    product = fragments.product(own, depth, c("1, 1"), precision)
    return c(
        """
    const {kind} *w = weights->{own}_weight;
    const source from = {{x, 0, 0}};
    {begin}
    for (int panel = 0; panel < {width}; panel += PANEL, w += {depth} * PANEL) {{
        const target to = {{y + panel, 0, 0}};
        const int count = {count};
        {product}
    }}""",
        begin=fragments.begin(layer, own, vector),
        count=fragments.count(width),
        depth=depth,
        kind=fragments.type_name(precision),
        own=own,
        product=product,
        width=width,
    )


def _convolution(at: Place) -> Text[C]:
    write = _folded if is_folded(at.layer) else _taps
    return write(at.layer, at.own, at.source, at.out, at.precision)


def _taps(layer: Conv | ConvTranspose, own: Text[C], source: Grid, out: Grid, precision: str) -> Text[C]:
    """Return the loops with one product per element of the kernel, over the rectangle of pixels that it reaches."""
    k, s, p, depth = layer.kernel, layer.stride, layer.padding, layer.in_channels
    transposed = isinstance(layer, ConvTranspose)
    # i counts along the side without the stride: input rows of a transposed convolution, output rows of a convolution
    sides = ((out.h, source.h), (out.w, source.w)) if transposed else ((source.h, out.h), (source.w, out.w))
    rows, columns = (fragments.reach(k, s, p, *side) for side in sides)

    def rectangle(of: Text[C], at: tuple[Text[C], Text[C]], g: Grid, step: int, panel: Text[C]) -> Text[C]:
        i, j = at
        return c(
            "{{{of} + ({i} * {g.w} + {j}) * {g.c}{panel}, {step} * {g.w} * {g.c}, {step} * {g.c}}}",
            g=g,
            i=i,
            j=j,
            of=of,
            panel=panel,
            step=step,
        )

    counted, strided = (c("i"), c("j")), (c("({s} * i + ky - {p})", p=p, s=s), c("{s} * j + kx - {p}", p=p, s=s))
    if transposed:
        x, y = rectangle(c("x"), counted, source, 1, c("")), rectangle(c("y"), strided, out, s, c(" + panel"))
        what = c(
            "takes input rows first_row[ky] .. last_row[ky] - 1, each i to output row {s} * i + ky - {p}", p=p, s=s
        )
    else:
        x, y = rectangle(c("x"), strided, source, s, c("")), rectangle(c("y"), counted, out, 1, c(" + panel"))
        what = c(
            "serves output rows first_row[ky] .. last_row[ky] - 1, each i from input row {s} * i + ky - {p}", p=p, s=s
        )
    empty = any(a >= b for a, b in (*rows, *columns))
    skip = c("\n                if (i >= last_row[ky] || j >= last_column[kx]) continue;") if empty else c("")
    product = fragments.product(own, depth, c("last_row[ky] - i, last_column[kx] - j"), precision)
    return c(
        """
    /* Row ky of the kernel {what}. */
    static const int first_row[{k}] = {first_row}, last_row[{k}] = {last_row};
    static const int first_column[{k}] = {first_column}, last_column[{k}] = {last_column};
    const {kind} *w = weights->{own}_weight;
    {begin}
    for (int panel = 0; panel < {out.c}; panel += PANEL)
        for (int ky = 0; ky < {k}; ky++)
            for (int kx = 0; kx < {k}; kx++, w += {depth} * PANEL) {{
                const int i = first_row[ky], j = first_column[kx], count = {count};{skip}
                const source from = {x};
                const target to = {y};
                {product}
            }}""",
        begin=fragments.begin(layer, own, out),
        count=fragments.count(out.c),
        depth=depth,
        first_column=fragments.table(columns, 0),
        first_row=fragments.table(rows, 0),
        k=k,
        kind=fragments.type_name(precision),
        last_column=fragments.table(columns, 1),
        last_row=fragments.table(rows, 1),
        out=out,
        own=own,
        product=product,
        skip=skip,
        what=what,
        x=x,
        y=y,
    )


def _folded(layer: Conv | ConvTranspose, own: Text[C], source: Grid, out: Grid, precision: str) -> Text[C]:
    """Return the loops in which one product computes what an input pixel adds to its whole neighborhood."""
    k, p, depth = layer.kernel, folded_padding(layer), layer.in_channels
    s = layer.stride if isinstance(layer, ConvTranspose) else 1
    reach = wide(layer, source)
    patch, line = k * k * out.c, k * out.c
    product = fragments.product(own, depth, c("1, {source.w}", source=source), precision)
    bias = c("weights->{own}_bias[c] + ", own=own) if layer.bias else c("")
    return c(
        """
    /* Few output channels: what a pixel of x adds to the {k} * {k} pixels around it is one product, `patches` holds
     * a row of them ([{source.w}][{k}][{k}][{out.c}]), and `wide` is y with its padding, {wide_shape}. */
    clear(wide, {reached});
    for (int i = 0; i < {source.h}; i++) {{
        const {kind} *w = weights->{own}_weight;
        const source from = {{x + i * {source.w} * {depth}, 0, {depth}}};
        clear(patches, {source.w} * {patch});
        for (int panel = 0; panel < {patch}; panel += PANEL, w += {depth} * PANEL) {{
            const target to = {{patches + panel, 0, {patch}}};
            const int count = {count};
            {product}
        }}
        for (int j = 0; j < {source.w}; j++)
            for (int ky = 0; ky < {k}; ky++) {{
                const float *patch = patches + (j * {k} + ky) * {line};
                float *to = wide + (({s} * i + ky) * {reach.w} + {s} * j) * {out.c};
                for (int c = 0; c < {line}; c++) to[c] += patch[c];
            }}
    }}
    for (int i = 0; i < {out.h}; i++)
        for (int j = 0; j < {out.w}; j++)
            for (int c = 0; c < {out.c}; c++)
                y[(i * {out.w} + j) * {out.c} + c] = {bias}wide[((i + {p}) * {reach.w} + j + {p}) * {out.c} + c];""",
        bias=bias,
        count=fragments.count(patch),
        depth=depth,
        k=k,
        kind=fragments.type_name(precision),
        line=line,
        out=out,
        own=own,
        p=p,
        patch=patch,
        product=product,
        reach=reach,
        reached=fragments.times(reach),
        s=s,
        source=source,
        wide_shape=fragments.shape(reach),
    )


WRITERS: Mapping[type, Writer] = {
    Linear: Writer(_linear, _linear_title),
    Conv: Writer(_convolution, _conv_title),
    ConvTranspose: Writer(_convolution, _conv_title),
}
