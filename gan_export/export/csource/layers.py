"""Each layer as a C function with its shapes written out."""

from __future__ import annotations

from collections.abc import Mapping

from gan_export.arch.layers import (
    Activation,
    Add,
    Affine,
    Concat,
    Conv,
    ConvTranspose,
    Crop,
    Embedding,
    Layer,
    Linear,
    Multiply,
    OneHot,
    Reshape,
    Scale,
    Upsample,
)
from gan_export.errors import GanExportError, printable
from gan_export.export.csource.plan import PANEL, Grid, Plan, Step, folded_padding, is_folded, wide

Names = Mapping[str, str]  # a layer's name -> its name in C


def shape(g: Grid) -> str:
    """[4][4][512], or [100] for a vector."""
    return f"[{g.c}]" if (g.h, g.w) == (1, 1) else f"[{g.h}][{g.w}][{g.c}]"


def number(value: float) -> str:
    """A float32 as C reads it back to the bit."""
    text = f"{value:.9g}"
    return text + ("f" if "." in text or "e" in text else ".0f")


def function(plan: Plan, step: Step, names: Names, precision: str) -> str:
    """The layer's function, empty for one that needs none (an activation is a call of a helper)."""
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
            body = f"""
    for (int i = 0; i < {out.h} * {out.w}; i++)
        for (int c = 0; c < {out.c}; c++)
            y[i * {out.c} + c] = x[i * {out.c} + c] * weights->{own}_weight[c] + weights->{own}_bias[c];"""
        case Upsample(factor=f, mode="nearest"):
            body = f"""
    for (int i = 0; i < {out.h}; i++)
        for (int j = 0; j < {out.w}; j++)
            for (int c = 0; c < {out.c}; c++)
                y[(i * {out.w} + j) * {out.c} + c] = x[(i / {f} * {source.w} + j / {f}) * {out.c} + c];"""
        case Upsample(factor=f):
            body = _bilinear(f, source, out)
        case Add() | Multiply():
            sign = "+" if isinstance(layer, Add) else "*"
            body = f"""
    for (int i = 0; i < {_times(out)}; i++) y[i] = x0[i] {sign} x1[i];"""
        case Concat():
            body = _concat(ins, out)
        case Reshape():
            body = _reshape(source, out)
        case Crop(top=t, left=le):
            body = f"""
    for (int i = 0; i < {out.h}; i++)
        for (int j = 0; j < {out.w} * {out.c}; j++)
            y[i * {out.w} * {out.c} + j] = x[(i + {t}) * {source.w} * {source.c} + {le} * {source.c} + j];"""
        case Scale(factor=factor, offset=offset):
            body = f"""
    for (int i = 0; i < {_times(out)}; i++) y[i] = x[i] * {number(factor)} + {number(offset)};"""
        case Embedding(dim=d):
            body = f"""
    for (int c = 0; c < {d}; c++) y[c] = weights->{own}_weight[label * {d} + (uint32_t)c];"""
        case OneHot(classes=n):
            body = f"""
    for (uint32_t c = 0; c < {n}; c++) y[c] = c == label;"""
        case Activation():
            return ""
        case _:
            raise GanExportError(f"c can't write layer {printable(layer.name)} ({type(layer).__name__})")
    arguments = [
        *(["const @symbol@_weights *weights"] if f"weights->{own}_" in body else []),
        *_inputs(layer),
        *(f"float *{name}" for name in step.scratch),
        "float *y",
    ]
    head = f"/* {own}: {_title(layer)}\n *   {_reads(layer, ins)} -> y{shape(out)} */"
    return f"{head}\nstatic void run_{own}({', '.join(arguments)})\n{{{body}\n}}\n"


def call(plan: Plan, step: Step, names: Names) -> str:
    """What the picture's function does for a layer, its output's place aside."""
    layer = step.layer
    own = names[layer.name]
    n = _times(plan.grids[layer.name])
    if isinstance(layer, Activation):
        slope = f", {number(layer.slope)}" if layer.kind == "leaky_relu" else ""
        return f"apply_{layer.kind}({names[layer.inputs[0]]}, {own}, {n}{slope});"
    weighted = isinstance(layer, Linear | Conv | ConvTranspose | Affine | Embedding)
    scratch = [f"workspace + {at}" for at, _ in step.scratch.values()]
    arguments = [*(["weights"] if weighted else []), *(names[name] for name in layer.inputs), *scratch, own]
    return f"run_{own}({', '.join(arguments)});"


def _times(g: Grid) -> str:
    return str(g.c) if (g.h, g.w) == (1, 1) else f"{g.h} * {g.w} * {g.c}"


def _inputs(layer: Layer) -> list[str]:
    if layer.inputs == ("label",):
        return ["uint32_t label"]
    if len(layer.inputs) == 1:
        return ["const float *x"]
    return [f"const float *x{i}" for i in range(len(layer.inputs))]


def _reads(layer: Layer, ins: list[Grid]) -> str:
    if layer.inputs == ("label",):
        return "label"
    if len(ins) == 1:
        return f"x{shape(ins[0])}"
    return ", ".join(f"x{i}{shape(g)}" for i, g in enumerate(ins))


def _title(layer: Layer) -> str:
    match layer:
        case Linear():
            return f"linear, {layer.in_features} -> {layer.out_features}"
        case ConvTranspose(kernel=k, stride=s, padding=p):
            return (
                f"transposed convolution, {layer.in_channels} -> {layer.out_channels}, "
                f"kernel {k}, stride {s}, padding {p}"
            )
        case Conv(kernel=k, stride=s, padding=p):
            return f"convolution, {layer.in_channels} -> {layer.out_channels}, kernel {k}, stride {s}, padding {p}"
        case Affine():
            return "a factor and a summand for each channel"
        case Upsample(factor=f, mode=mode):
            return f"{f} times as high and wide, {mode}"
        case Reshape():
            return "the same numbers in the order of channels, rows, columns, read as another shape"
        case Crop(top=t, left=le):
            return f"the part from row {t}, column {le} on"
        case Embedding():
            return "the label's row of a table"
        case OneHot():
            return "1 at the label, 0 elsewhere"
    return type(layer).__name__.lower()


def _product(own: str, depth: int, size: str, precision: str) -> str:
    """The call for one tap and panel; `size`: rows and columns of pixels."""
    units = f"weights->{own}_unit + panel, " if precision == "int8" else ""
    return f"product(from, w, {units}{depth}, to, count, {size});"


def _count(out: int) -> str:
    """Channels of the panel that begins at `panel`."""
    return str(PANEL) if out % PANEL == 0 else f"{out} - panel < {PANEL} ? {out} - panel : {PANEL}"


def _begin(layer: Linear | Conv | ConvTranspose, own: str, out: Grid) -> str:
    if layer.bias:
        return f"begin(weights->{own}_bias, {out.h} * {out.w}, {out.c}, y);"
    return f"clear(y, {_times(out)});"


def _linear(layer: Linear, own: str, out: Grid, precision: str) -> str:
    depth, width = layer.in_features, layer.out_features
    vector = Grid(1, 1, width)
    product = _product(own, depth, "1, 1", precision)
    return f"""
    const {_type(precision)} *w = weights->{own}_weight;
    const source from = {{x, 0, 0}};
    {_begin(layer, own, vector)}
    for (int panel = 0; panel < {width}; panel += PANEL, w += {depth} * PANEL) {{
        const target to = {{y + panel, 0, 0}};
        const int count = {_count(width)};
        {product}
    }}"""


def _type(precision: str) -> str:
    return {"fp32": "float", "fp16": "uint16_t", "int8": "int8_t"}[precision]


def _taps(layer: Conv | ConvTranspose, own: str, source: Grid, out: Grid, precision: str) -> str:
    """A product for each element of the kernel, over the rectangle of pixels that it reaches."""
    k, s, p, depth = layer.kernel, layer.stride, layer.padding, layer.in_channels
    transposed = isinstance(layer, ConvTranspose)
    # i counts along the side without the stride: input rows of a transposed convolution, output rows of a plain one
    sides = ((out.h, source.h), (out.w, source.w)) if transposed else ((source.h, out.h), (source.w, out.w))
    rows, columns = (_reach(k, s, p, *side) for side in sides)

    def rectangle(of: str, at: tuple[str, str], g: Grid, step: int, panel: str = "") -> str:
        i, j = at
        return f"{{{of} + ({i} * {g.w} + {j}) * {g.c}{panel}, {step} * {g.w} * {g.c}, {step} * {g.c}}}"

    counted, strided = ("i", "j"), (f"({s} * i + ky - {p})", f"{s} * j + kx - {p}")
    if transposed:
        x, y = rectangle("x", counted, source, 1), rectangle("y", strided, out, s, " + panel")
        what = f"takes input rows first_row[ky] .. last_row[ky] - 1, each i to output row {s} * i + ky - {p}"
    else:
        x, y = rectangle("x", strided, source, s), rectangle("y", counted, out, 1, " + panel")
        what = f"serves output rows first_row[ky] .. last_row[ky] - 1, each i from input row {s} * i + ky - {p}"
    empty = any(a >= b for a, b in (*rows, *columns))
    skip = "\n                if (i >= last_row[ky] || j >= last_column[kx]) continue;" if empty else ""
    product = _product(own, depth, "last_row[ky] - i, last_column[kx] - j", precision)
    return f"""
    /* Row ky of the kernel {what}. */
    static const int first_row[{k}] = {_table(rows, 0)}, last_row[{k}] = {_table(rows, 1)};
    static const int first_column[{k}] = {_table(columns, 0)}, last_column[{k}] = {_table(columns, 1)};
    const {_type(precision)} *w = weights->{own}_weight;
    {_begin(layer, own, out)}
    for (int panel = 0; panel < {out.c}; panel += PANEL)
        for (int ky = 0; ky < {k}; ky++)
            for (int kx = 0; kx < {k}; kx++, w += {depth} * PANEL) {{
                const int i = first_row[ky], j = first_column[kx], count = {_count(out.c)};{skip}
                const source from = {x};
                const target to = {y};
                {product}
            }}"""


def _reach(kernel: int, stride: int, padding: int, strided: int, counted: int) -> list[tuple[int, int]]:
    """For each element of a kernel's side, the i below `counted` with 0 <= stride * i + element - padding < strided."""
    reach = []
    for element in range(kernel):
        first = max(0, -((element - padding) // stride))
        last = min(counted, (strided - 1 + padding - element) // stride + 1)
        reach.append((first, max(last, 0)))
    return reach


def _table(reach: list[tuple[int, int]], end: int) -> str:
    return "{" + ", ".join(str(r[end]) for r in reach) + "}"


def _folded(layer: Conv | ConvTranspose, own: str, source: Grid, out: Grid, precision: str) -> str:
    """One product gives what an input pixel adds to all of its neighbourhood."""
    k, p, depth = layer.kernel, folded_padding(layer), layer.in_channels
    s = layer.stride if isinstance(layer, ConvTranspose) else 1
    reach = wide(layer, source)
    patch, line = k * k * out.c, k * out.c
    product = _product(own, depth, f"1, {source.w}", precision)
    bias = f"weights->{own}_bias[c] + " if layer.bias else ""
    return f"""
    /* Few output channels: what a pixel of x adds to the {k} * {k} pixels around it is one product, `patches` holds
     * a row of them ([{source.w}][{k}][{k}][{out.c}]), and `wide` is y with its padding, {shape(reach)}. */
    clear(wide, {_times(reach)});
    for (int i = 0; i < {source.h}; i++) {{
        const {_type(precision)} *w = weights->{own}_weight;
        const source from = {{x + i * {source.w} * {depth}, 0, {depth}}};
        clear(patches, {source.w} * {patch});
        for (int panel = 0; panel < {patch}; panel += PANEL, w += {depth} * PANEL) {{
            const target to = {{patches + panel, 0, {patch}}};
            const int count = {_count(patch)};
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
                y[(i * {out.w} + j) * {out.c} + c] = {bias}wide[((i + {p}) * {reach.w} + j + {p}) * {out.c} + c];"""


def _bilinear(f: int, source: Grid, out: Grid) -> str:
    return f"""
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
    }}"""


def _concat(ins: list[Grid], out: Grid) -> str:
    lines = [f"\n    for (int i = 0; i < {out.h} * {out.w}; i++) {{"]
    at = 0
    for n, part in enumerate(ins):
        lines.append(f"        for (int c = 0; c < {part.c}; c++) y[i * {out.c} + {at} + c] = x{n}[i * {part.c} + c];")
        at += part.c
    return "\n".join([*lines, "    }"])


def _reshape(source: Grid, out: Grid) -> str:
    pixels = source.h * source.w
    return f"""
    for (int i = 0; i < {out.h} * {out.w}; i++)
        for (int c = 0; c < {out.c}; c++) {{
            const int at = c * {out.h * out.w} + i; /* in the order of channels, rows, columns */
            y[i * {out.c} + c] = x[at % {pixels} * {source.c} + at / {pixels}];
        }}"""
