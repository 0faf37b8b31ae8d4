"""Write the C functions of layers on volumes and signals: those of images, with one more loop over the depth.

A signal is a volume of one slice and one row.
"""

from __future__ import annotations

from collections.abc import Mapping

from gan_export._lib.escape import C, Text, c, c_identifier
from gan_export.errors import GanExportError, printable
from gan_export.exporters.c import fragments
from gan_export.exporters.c.layers.base import Place, Writer
from gan_export.exporters.c.plan import Grid, is_folded, wide, window
from gan_export.graph.layers import ConvNd, ConvTransposeNd, UpsampleNd


def _title(layer: ConvNd | ConvTransposeNd | UpsampleNd) -> Text[C]:
    """Return a layer's description for the comment above its function."""

    def by(sides: tuple[int, ...]) -> Text[C]:
        return c(" x ").join(c("{side}", side=side) for side in sides)

    if isinstance(layer, UpsampleNd):
        return c("{factor} times as large, {mode}", factor=by(layer.factor), mode=c_identifier(layer.mode))
    return c(
        "{kind}, {inside} -> {outside}, kernel {k}, stride {s}, padding {p}",
        kind=c("transposed convolution") if isinstance(layer, ConvTransposeNd) else c("convolution"),
        inside=layer.in_channels,
        outside=layer.out_channels,
        k=by(layer.kernel),
        s=by(layer.stride),
        p=by(layer.padding),
    )


def _nearest(at: Place) -> Text[C]:
    """Return the loops of a nearest upsampling."""
    layer, source, out = at.layer, at.source, at.out
    if layer.mode != "nearest":
        raise GanExportError(f"c can't write layer {printable(layer.name)} (UpsampleNd, {layer.mode})")
    fz, fy, fx = (1, 1, *layer.factor)[-3:]
    return c(
        """
    for (int d = 0; d < {out.d}; d++)
        for (int i = 0; i < {out.h}; i++)
            for (int j = 0; j < {out.w}; j++) {{
                const float *from = x + ((d / {fz} * {source.h} + i / {fy}) * {source.w} + j / {fx}) * {out.c};
                float *to = y + ((d * {out.h} + i) * {out.w} + j) * {out.c};
                for (int c = 0; c < {out.c}; c++) to[c] = from[c];
            }}""",
        fx=fx,
        fy=fy,
        fz=fz,
        out=out,
        source=source,
    )


def _convolution(at: Place) -> Text[C]:
    return (_folded if is_folded(at.layer) else _taps)(at.layer, at.own, at.source, at.out, at.precision)


def _taps(layer: ConvNd | ConvTransposeNd, own: Text[C], source: Grid, out: Grid, precision: str) -> Text[C]:
    """Return the loops with one product per element of the kernel and slice, over the pixels that it reaches there."""
    of, depth = window(layer), layer.in_channels
    transposed = isinstance(layer, ConvTransposeNd)
    # counted: the side without the stride, input of a transposed convolution, output of a convolution
    counted, strided = (source, out) if transposed else (out, source)
    reached = [
        fragments.reach(k, s, p, far, near)
        for k, s, p, far, near in zip(of.kernel, of.stride, of.padding, _sides(strided), _sides(counted), strict=True)
    ]
    (kz, ky, kx), (sz, sy, sx), (pz, py, px) = of.kernel, of.stride, of.padding
    near = c("((d * {g.h} + i) * {g.w} + j) * {g.c}", g=counted)
    far = c(
        "((({sz} * d + kz - {pz}) * {g.h} + {sy} * i + ky - {py}) * {g.w} + {sx} * j + kx - {px}) * {g.c}",
        g=strided, px=px, py=py, pz=pz, sx=sx, sy=sy, sz=sz,
    )  # fmt: skip
    near_steps = c("{g.w} * {g.c}, {g.c}", g=counted)
    far_steps = c("{sy} * {g.w} * {g.c}, {sx} * {g.c}", g=strided, sx=sx, sy=sy)
    x = c("{{x + {at}, {steps}}}", at=near if transposed else far, steps=near_steps if transposed else far_steps)
    y = c(
        "{{y + {at} + panel, {steps}}}", at=far if transposed else near, steps=far_steps if transposed else near_steps
    )
    names = (("slice", kz), ("row", ky), ("column", kx))
    tables = c("\n").join(
        c(
            "    static const int first_{name}[{k}] = {first}, last_{name}[{k}] = {last};",
            first=fragments.table(ranges, 0),
            k=k,
            last=fragments.table(ranges, 1),
            name=c_identifier(name),
        )
        for (name, k), ranges in zip(names, reached, strict=True)
    )
    empty = any(a >= b for ranges in reached[1:] for a, b in ranges)
    skip = c("\n                    if (i >= last_row[ky] || j >= last_column[kx]) continue;") if empty else c("")
    return c(
        """
    /* Element kz, ky, kx of the kernel joins {near_name} (d, i, j) and {far_name} ({sz} * d + kz - {pz},
     * {sy} * i + ky - {py}, {sx} * j + kx - {px}): d from first_slice[kz] to last_slice[kz] - 1, i and j likewise. */
{tables}
    const {kind} *w = weights->{own}_weight;
    {begin}
    for (int panel = 0; panel < {out.c}; panel += PANEL)
        for (int kz = 0; kz < {kz}; kz++)
            for (int ky = 0; ky < {ky}; ky++)
                for (int kx = 0; kx < {kx}; kx++, w += {depth} * PANEL) {{
                    const int i = first_row[ky], j = first_column[kx], count = {count};{skip}
                    for (int d = first_slice[kz]; d < last_slice[kz]; d++) {{
                        const source from = {x};
                        const target to = {y};
                        {product}
                    }}
                }}""",
        begin=fragments.begin(layer, own, out),
        count=fragments.count(out.c),
        depth=depth,
        far_name=c("output") if transposed else c("input"),
        kind=fragments.type_name(precision),
        kx=kx,
        ky=ky,
        kz=kz,
        near_name=c("input") if transposed else c("output"),
        out=out,
        own=own,
        product=fragments.product(own, depth, c("last_row[ky] - i, last_column[kx] - j"), precision),
        px=px,
        py=py,
        pz=pz,
        skip=skip,
        sx=sx,
        sy=sy,
        sz=sz,
        tables=tables,
        x=x,
        y=y,
    )


def _sides(g: Grid) -> tuple[int, int, int]:
    return g.d, g.h, g.w


def _folded(layer: ConvNd | ConvTransposeNd, own: Text[C], source: Grid, out: Grid, precision: str) -> Text[C]:
    """Return the loops in which one product computes what an input pixel adds to its whole neighborhood."""
    of, depth, to = window(layer), layer.in_channels, wide(layer, source)
    (kz, ky, kx), (sz, sy, sx), (pz, py, px) = of.kernel, of.stride, of.padding
    patch = of.elements * out.c
    return c(
        """
    /* Few output channels: what a pixel of x adds to the {kz} * {ky} * {kx} pixels around it is one product, `patches`
     * holds a row of them ([{source.w}][{kz}][{ky}][{kx}][{out.c}]), and `wide` is y with its padding, {wide_shape}. */
    clear(wide, {reached});
    for (int row = 0; row < {source.d} * {source.h}; row++) {{
        const int d = row / {source.h}, i = row % {source.h};
        const {kind} *w = weights->{own}_weight;
        const source from = {{x + row * {source.w} * {depth}, 0, {depth}}};
        clear(patches, {source.w} * {patch});
        for (int panel = 0; panel < {patch}; panel += PANEL, w += {depth} * PANEL) {{
            const target to = {{patches + panel, 0, {patch}}};
            const int count = {count};
            {product}
        }}
        for (int j = 0; j < {source.w}; j++)
            for (int k = 0; k < {kz} * {ky}; k++) {{
                const int slice = {sz} * d + k / {ky}, line = {sy} * i + k % {ky};
                const float *patch = patches + (j * {kz} * {ky} + k) * {line};
                float *to = wide + ((slice * {to.h} + line) * {to.w} + {sx} * j) * {out.c};
                for (int c = 0; c < {line}; c++) to[c] += patch[c];
            }}
    }}
    for (int row = 0; row < {out.d} * {out.h}; row++)
        for (int j = 0; j < {out.w}; j++) {{
            const int d = row / {out.h}, i = row % {out.h};
            const float *from = wide + (((d + {pz}) * {to.h} + i + {py}) * {to.w} + j + {px}) * {out.c};
            for (int c = 0; c < {out.c}; c++) y[(row * {out.w} + j) * {out.c} + c] = {bias}from[c];
        }}""",
        bias=c("weights->{own}_bias[c] + ", own=own) if layer.bias else c(""),
        count=fragments.count(patch),
        depth=depth,
        kind=fragments.type_name(precision),
        kx=kx,
        ky=ky,
        kz=kz,
        line=kx * out.c,
        out=out,
        own=own,
        patch=patch,
        product=fragments.product(own, depth, c("1, {source.w}", source=source), precision),
        px=px,
        py=py,
        pz=pz,
        reached=fragments.times(to),
        source=source,
        sx=sx,
        sy=sy,
        sz=sz,
        to=to,
        wide_shape=fragments.shape(to),
    )


WRITERS: Mapping[type, Writer] = {
    ConvNd: Writer(_convolution, _title),
    ConvTransposeNd: Writer(_convolution, _title),
    UpsampleNd: Writer(_nearest, _title),
}
