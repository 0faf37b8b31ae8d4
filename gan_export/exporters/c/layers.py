"""Write each layer as a C function with its shapes as constants."""

from __future__ import annotations

from collections.abc import Mapping

from gan_export._lib.escape import C, Text, c, c_identifier
from gan_export.errors import GanExportError, printable
from gan_export.exporters.c import fragments, layers_nd
from gan_export.exporters.c.plan import Grid, Plan, Step, folded_padding, is_folded, wide
from gan_export.graph.layers import (
    Activation,
    Add,
    Affine,
    Concat,
    Conv,
    ConvNd,
    ConvTranspose,
    ConvTransposeNd,
    Crop,
    Embedding,
    Layer,
    Linear,
    Multiply,
    OneHot,
    Reshape,
    Scale,
    Upsample,
    UpsampleNd,
)

Names = Mapping[str, Text[C]]  # a layer's name -> its C identifier


def function(plan: Plan, step: Step, names: Names, precision: str) -> Text[C]:
    """Return a layer's function; empty if it needs none (an activation is a call of a helper)."""
    layer = step.layer
    own = names[layer.name]
    ins, out = [plan.grids[name] for name in layer.inputs], plan.grids[layer.name]
    source = ins[0]
    match layer:
        case Linear():
            body = _linear(layer, own, out, precision)
        case ConvTranspose() | Conv():
            body = (
                _folded(layer, own, source, out, precision)
                if is_folded(layer)
                else _taps(layer, own, source, out, precision)
            )
        case Affine():
            body = c(
                """
    for (int i = 0; i < {pixels}; i++)
        for (int c = 0; c < {out.c}; c++)
            y[i * {out.c} + c] = x[i * {out.c} + c] * weights->{own}_weight[c] + weights->{own}_bias[c];""",
                out=out,
                own=own,
                pixels=fragments.pixels(out),
            )
        case ConvTransposeNd() | ConvNd():
            body = layers_nd.convolution(layer, own, source, out, precision)
        case UpsampleNd(mode="nearest"):
            body = layers_nd.nearest(layer, source, out)
        case Upsample(factor=f, mode="nearest"):
            body = c(
                """
    for (int i = 0; i < {out.h}; i++)
        for (int j = 0; j < {out.w}; j++)
            for (int c = 0; c < {out.c}; c++)
                y[(i * {out.w} + j) * {out.c} + c] = x[(i / {f} * {source.w} + j / {f}) * {out.c} + c];""",
                f=f,
                out=out,
                source=source,
            )
        case Upsample(factor=f):
            body = _bilinear(f, source, out)
        case Add() | Multiply():
            sign = c("+") if isinstance(layer, Add) else c("*")
            body = c(
                """
    for (int i = 0; i < {n}; i++) y[i] = x0[i] {sign} x1[i];""",
                n=fragments.times(out),
                sign=sign,
            )
        case Concat():
            body = _concat(ins, out)
        case Reshape():
            body = _reshape(source, out)
        case Crop(top=t, left=le):
            body = c(
                """
    for (int i = 0; i < {out.h}; i++)
        for (int j = 0; j < {out.w} * {out.c}; j++)
            y[i * {out.w} * {out.c} + j] = x[(i + {t}) * {source.w} * {source.c} + {le} * {source.c} + j];""",
                le=le,
                out=out,
                source=source,
                t=t,
            )
        case Scale(factor=factor, offset=offset):
            body = c(
                """
    for (int i = 0; i < {n}; i++) y[i] = x[i] * {factor} + {offset};""",
                factor=fragments.number(factor),
                n=fragments.times(out),
                offset=fragments.number(offset),
            )
        case Embedding(dim=d):
            body = c(
                """
    for (int c = 0; c < {d}; c++) y[c] = weights->{own}_weight[label * {d} + (uint32_t)c];""",
                d=d,
                own=own,
            )
        case OneHot(classes=n):
            body = c(
                """
    for (uint32_t c = 0; c < {n}; c++) y[c] = c == label;""",
                n=n,
            )
        case Activation():
            return c("")
        case _:
            raise GanExportError(f"c can't write layer {printable(layer.name)} ({type(layer).__name__})")
    arguments = [
        *([c("const @symbol@_weights *weights")] if c("weights->{own}_", own=own) in body else []),
        *_inputs(layer),
        *(c("float *{name}", name=c_identifier(name)) for name in step.scratch),
        c("float *y"),
    ]
    head = c(
        "/* {own}: {title}\n *   {reads} -> y{shape} */",
        own=own,
        reads=_reads(layer, ins),
        shape=fragments.shape(out),
        title=_title(layer),
    )
    return c(
        "{head}\nstatic void run_{own}({arguments})\n{{{body}\n}}\n",
        arguments=c(", ").join(arguments),
        body=body,
        head=head,
        own=own,
    )


def call(plan: Plan, step: Step, names: Names) -> Text[C]:
    """Return the statements for a layer in the function of an image, without the place of its output."""
    layer = step.layer
    own = names[layer.name]
    n = fragments.times(plan.grids[layer.name])
    if isinstance(layer, Activation):
        slope = c(", {slope}", slope=fragments.number(layer.slope)) if layer.kind == "leaky_relu" else c("")
        return c(
            "apply_{kind}({source}, {own}, {n}{slope});",
            kind=c_identifier(layer.kind),
            n=n,
            own=own,
            slope=slope,
            source=names[layer.inputs[0]],
        )
    weighted = isinstance(layer, Linear | Conv | ConvTranspose | ConvNd | ConvTransposeNd | Affine | Embedding)
    scratch = [c("workspace + {at}", at=at) for at, _ in step.scratch.values()]
    arguments = [*([c("weights")] if weighted else []), *(names[name] for name in layer.inputs), *scratch, own]
    return c("run_{own}({arguments});", arguments=c(", ").join(arguments), own=own)


def _inputs(layer: Layer) -> list[Text[C]]:
    if layer.inputs == ("label",):
        return [c("uint32_t label")]
    if len(layer.inputs) == 1:
        return [c("const float *x")]
    return [c("const float *x{i}", i=i) for i in range(len(layer.inputs))]


def _reads(layer: Layer, ins: list[Grid]) -> Text[C]:
    if layer.inputs == ("label",):
        return c("label")
    if len(ins) == 1:
        return c("x{shape}", shape=fragments.shape(ins[0]))
    return c(", ").join(c("x{i}{shape}", i=i, shape=fragments.shape(g)) for i, g in enumerate(ins))


def _title(layer: Layer) -> Text[C]:
    match layer:
        case Linear():
            return c("linear, {inside} -> {outside}", inside=layer.in_features, outside=layer.out_features)
        case ConvTranspose(kernel=k, stride=s, padding=p):
            return c(
                "transposed convolution, {inside} -> {outside}, kernel {k}, stride {s}, padding {p}",
                inside=layer.in_channels,
                k=k,
                outside=layer.out_channels,
                p=p,
                s=s,
            )
        case Conv(kernel=k, stride=s, padding=p):
            return c(
                "convolution, {inside} -> {outside}, kernel {k}, stride {s}, padding {p}",
                inside=layer.in_channels,
                k=k,
                outside=layer.out_channels,
                p=p,
                s=s,
            )
        case ConvTransposeNd() | ConvNd() | UpsampleNd():
            return layers_nd.title(layer)
        case Affine():
            return c("a factor and a summand for each channel")
        case Upsample(factor=f, mode=mode):
            return c("{f} times as high and wide, {mode}", f=f, mode=c_identifier(mode))
        case Reshape():
            return c("the same numbers in the order of channels, rows, columns, read as another shape")
        case Crop(top=t, left=le):
            return c("the part from row {t}, column {le} on", le=le, t=t)
        case Embedding():
            return c("the label's row of a table")
        case OneHot():
            return c("1 at the label, 0 elsewhere")
    return c_identifier(type(layer).__name__.lower())


def _linear(layer: Linear, own: Text[C], out: Grid, precision: str) -> Text[C]:
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


def _concat(ins: list[Grid], out: Grid) -> Text[C]:
    lines = [c("\n    for (int i = 0; i < {pixels}; i++) {{", pixels=fragments.pixels(out))]
    at = 0
    for n, part in enumerate(ins):
        lines.append(
            c(
                "        for (int c = 0; c < {part.c}; c++) y[i * {out.c} + {at} + c] = x{n}[i * {part.c} + c];",
                at=at,
                n=n,
                out=out,
                part=part,
            )
        )
        at += part.c
    return c("\n").join([*lines, c("    }")])


def _reshape(source: Grid, out: Grid) -> Text[C]:
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
