"""Write the files of a C export of a generator that takes an image."""

from __future__ import annotations

import numpy as np

from gan_export._lib.escape import C, Text, c, c_identifier
from gan_export.exporters.c import fragments
from gan_export.exporters.c.plan import grid
from gan_export.exporters.c.source import Source, declared, part, provenance
from gan_export.exporters.c.text_functions import check, functions, lines
from gan_export.graph.layers import InstanceNorm
from gan_export.graph.views import ImageToImage


def header(s: Source) -> Text[C]:
    """Return the text of SYMBOL.h."""
    of = _of(s)
    members = c("\n").join(c("    {line} /* {comment} */", comment=m.comment, line=declared(s, m)) for m in s.members)
    files = c("{symbol}.c", symbol=s.symbol) + (c(" {symbol}_weights.c", symbol=s.symbol) if s.embedded else c(""))
    where = (
        c("The weights are {symbol}_embedded, in {symbol}_weights.c.", symbol=s.symbol)
        if s.embedded
        else c(
            "Read {symbol}.weights into a {symbol}_weights, or map it (only on little-endian machines).",
            symbol=s.symbol,
        )
    )
    text = c(
        """\
/* {symbol}.h: a generator from an image of {i.w}x{i.h}x{i.c} to one of {o.w}x{o.h}x{o.c}, in plain C.
 *
{provenance}
 *
 *   cc -std=c99 -O3 -march=native {files} example.c -lm -o example
 *
 * Nothing here allocates, prints or keeps state: give each thread its own workspace.  Images are RGB if they have three
 * channels.
 * {where}
 */
#ifndef GENERATOR_H
#define GENERATOR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

enum {{
    GENERATOR_INPUT_CHANNELS = {i.c},
    GENERATOR_INPUT_HEIGHT = {i.h},
    GENERATOR_INPUT_WIDTH = {i.w},
    GENERATOR_CHANNELS = {o.c},
    GENERATOR_HEIGHT = {o.h},
    GENERATOR_WIDTH = {o.w},
    GENERATOR_WORKSPACE = {workspace} /* floats, {kilobytes:.0f} KB */
}};

typedef struct generator_weights {{
{members}
}} generator_weights; /* {size} bytes */

{embedded}/* 1 if these are the weights that this code was written for, in this machine's byte order; otherwise 0. */
int generator_check(const generator_weights *weights);

/* One image, float [INPUT_CHANNELS][INPUT_HEIGHT][INPUT_WIDTH], {takes}, to float [CHANNELS][HEIGHT][WIDTH], {gives}.
 * `workspace`: GENERATOR_WORKSPACE floats. */
void generator_floats(const generator_weights *weights, const float *input, float *workspace, float *picture);

/* One image, bytes [INPUT_HEIGHT][INPUT_WIDTH][INPUT_CHANNELS], to bytes [HEIGHT][WIDTH][CHANNELS]. */
void generator_bytes(const generator_weights *weights, const unsigned char *input, float *workspace,
                     unsigned char *picture);

#ifdef __cplusplus
}}
#endif
#endif
""",
        embedded=c("extern const generator_weights generator_embedded;\n\n") if s.embedded else c(""),
        files=files,
        gives=_range(of.range),
        i=grid(of.input),
        kilobytes=4 * s.plan.workspace / 1024,
        members=members if s.members else c("    char none; /* this generator has no weights */"),
        o=grid(of.image),
        provenance=provenance(s),
        size=len(s.data),
        symbol=s.symbol,
        takes=_range(of.input_range),
        where=where,
        workspace=s.plan.workspace,
    )
    return s.fill(text)


def source(s: Source) -> Text[C]:
    """Return the text of SYMBOL.c."""
    roots = any(isinstance(step.layer, InstanceNorm) for step in s.plan.steps)
    parts = [
        c("/* {symbol}.c: see {symbol}.h.\n *\n{of}\n */\n", of=provenance(s), symbol=s.symbol),
        c('#include "{symbol}.h"\n\n', symbol=s.symbol)
        + (c("#include <math.h>\n") if roots else c(""))
        + c("#include <string.h>\n"),
        *functions(s),
        _picture(s),
        check(s),
        _public(s),
    ]
    return s.fill(c("\n").join(parts))


def example(s: Source) -> Text[C]:
    """Return the text of example.c, which reads an image from a PNM file and writes the result to another."""
    of = _of(s)
    text = part("example_image")
    files = c("{symbol}.c {symbol}_weights.c", symbol=s.symbol) if s.embedded else c("{symbol}.c", symbol=s.symbol)
    before = c("") if s.embedded else c("{symbol}.weights ", symbol=s.symbol)
    for mark, value in {
        "symbol": s.symbol,
        "compile": c("cc -std=c99 -O3 -march=native {files} example.c -lm -o example", files=files),
        "arguments": c("{before}before.pnm after.pnm", before=before),
        "storage": c("") if s.embedded else c("static generator_weights weights;\n"),
        "given": c("{n}", n=1 if s.embedded else 2),
        "read": c("") if s.embedded else part("example_weights"),
        "weights": c("&generator_embedded") if s.embedded else c("&weights"),
        "kind": c("{n}", n=6 if of.input[0] == 3 else 5),
        "result": c("{n}", n=6 if of.image[0] == 3 else 5),
        # a PNM has 1 or 3 channels: others as that many times the columns, in gray
        "rows": c("GENERATOR_INPUT_WIDTH") + _times("GENERATOR_INPUT_CHANNELS", of.input[0]),
        "columns": c("GENERATOR_WIDTH") + _times("GENERATOR_CHANNELS", of.image[0]),
    }.items():
        text = text.replace(f"@{mark}@", value)
    return s.fill(text)


def _times(name: str, channels: int) -> Text[C]:
    return c("") if channels in (1, 3) else c(" * {name}", name=c_identifier(name))


def _of(s: Source) -> ImageToImage:
    assert isinstance(s.plan.of, ImageToImage)
    return s.plan.of


def _range(bounds: tuple[float, float] | None) -> Text[C]:
    return c("without bounds") if bounds is None else c("in [{low:g}, {high:g}]", high=bounds[1], low=bounds[0])


def _picture(s: Source) -> Text[C]:
    plan, names = s.plan, s.names
    statements = [c("const float *const input = workspace + {at};", at=plan.input_at)]
    for step in plan.steps:
        statements += lines(plan, step, names)
    return c(
        """\
/* Run the layers in order on the image in the workspace; return the output of the last one, {shape}. */
static const float *draw(const generator_weights *weights, float *workspace)
{{
{ignored}{body}
    return {output};
}}
""",
        body=c("\n").join(c("    {line}", line=line) for line in statements),
        ignored=c("") if s.members else c("    (void)weights;\n"),
        output=names[plan.spec.outputs[0]],
        shape=fragments.shape(plan.grids[plan.spec.outputs[0]]),
    )


def _public(s: Source) -> Text[C]:
    of = _of(s)
    low, high = of.input_range or (-1.0, 1.0)
    value, (bottom, top) = c("x[i]"), of.range or (-1.0, 1.0)
    if (bottom, top) != (-1.0, 1.0):  # each operation in float32, as docs/gan-file-format.md defines it
        factor = np.float32(2) / (np.float32(top) - np.float32(bottom))
        offset = np.float32(-1) - np.float32(bottom) * factor
        value = c("(x[i] * {by} + {plus})", by=fragments.number(float(factor)), plus=fragments.number(float(offset)))
    return c(
        """\
void generator_floats(const generator_weights *weights, const float *input, float *workspace, float *picture)
{{
    float *to = workspace + {at};
    const float *x;
    for (int c = 0; c < {i.c}; c++)
        for (int i = 0; i < {i.h} * {i.w}; i++) to[i * {i.c} + c] = input[c * ({i.h} * {i.w}) + i];
    x = draw(weights, workspace);
    for (int i = 0; i < {o.h} * {o.w}; i++)
        for (int c = 0; c < {o.c}; c++) picture[c * ({o.h} * {o.w}) + i] = x[i * {o.c} + c];
}}

void generator_bytes(const generator_weights *weights, const unsigned char *input, float *workspace,
                     unsigned char *picture)
{{
    float *to = workspace + {at};
    const float *x;
    for (int i = 0; i < {i.h} * {i.w} * {i.c}; i++) to[i] = (float)input[i] * {scale} + {low};
    x = draw(weights, workspace);
    for (int i = 0; i < {o.h} * {o.w} * {o.c}; i++) {{
        const float level = {value} * 127.5f + 128.0f;
        picture[i] = (unsigned char)(!(level > 0.0f) ? 0.0f : level >= 255.0f ? 255.0f : level);
    }}
}}
""",
        at=s.plan.input_at,
        i=grid(of.input),
        low=fragments.number(low),
        o=grid(of.image),
        scale=fragments.number(float(np.float32((high - low) / 255))),
        value=value,
    )
