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

_DRAWN = c(
    """\
/* The random numbers on (0, 1) by which the dropouts of image `index` of `seed` drop values. */
void generator_dropout(uint64_t seed, uint64_t index, float dropout[GENERATOR_DROPOUT]);

"""
)
_EXAMPLE_DRAWS = c(
    """\
    generator_dropout(argc > given + 2 ? (uint64_t)strtoull(argv[given + 2], NULL, 10) : 0,
                      argc > given + 3 ? (uint64_t)strtoull(argv[given + 3], NULL, 10) : 0, dropout);
"""
)


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
{numbers}    GENERATOR_WORKSPACE = {workspace} /* floats, {kilobytes:.0f} KB */
}};

typedef struct generator_weights {{
{members}
}} generator_weights; /* {size} bytes */

{embedded}/* 1 if these are the weights that this code was written for, in this machine's byte order; otherwise 0. */
int generator_check(const generator_weights *weights);

{drawn}/* One image, float [INPUT_CHANNELS][INPUT_HEIGHT][INPUT_WIDTH], {takes},
 * to float [CHANNELS][HEIGHT][WIDTH], {gives}.  `workspace`: GENERATOR_WORKSPACE floats. */
void generator_floats(const generator_weights *weights, const float *input, {dropout}float *workspace,
                      float *picture);

/* One image, bytes [INPUT_HEIGHT][INPUT_WIDTH][INPUT_CHANNELS], to bytes [HEIGHT][WIDTH][CHANNELS]. */
void generator_bytes(const generator_weights *weights, const unsigned char *input, {dropout}float *workspace,
                     unsigned char *picture);

#ifdef __cplusplus
}}
#endif
#endif
""",
        drawn=_DRAWN if of.dropouts else c(""),
        dropout=_parameter(s),
        embedded=c("extern const generator_weights generator_embedded;\n\n") if s.embedded else c(""),
        files=files,
        gives=_range(of.range),
        i=grid(of.input),
        kilobytes=4 * s.plan.workspace / 1024,
        members=members if s.members else c("    char none; /* this generator has no weights */"),
        numbers=_numbers(s),
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
        *([part("latents")] if _of(s).dropouts else []),
        *functions(s),
        _picture(s),
        check(s),
        *([_drawing(s)] if _of(s).dropouts else []),
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
        "arguments": c("{before}before.pnm after.pnm", before=before)
        + (c(" [seed [index]]") if of.dropouts else c("")),
        "storage": c("") if s.embedded else c("static generator_weights weights;\n"),
        "given": c("{n}", n=1 if s.embedded else 2),
        "read": c("") if s.embedded else part("example_weights"),
        "weights": c("&generator_embedded") if s.embedded else c("&weights"),
        "kind": c("{n}", n=6 if of.input[0] == 3 else 5),
        "result": c("{n}", n=6 if of.image[0] == 3 else 5),
        # a PNM has 1 or 3 channels: others as that many times the columns, in gray
        "rows": c("GENERATOR_INPUT_WIDTH") + _times("GENERATOR_INPUT_CHANNELS", of.input[0]),
        "more": c("argc < given + 2 || argc > given + 4") if of.dropouts else c("argc != given + 2"),
        "included": c("#include <stdlib.h>\n") if of.dropouts else c(""),
        "numbers": c("static float dropout[GENERATOR_DROPOUT];\n") if of.dropouts else c(""),
        "draw": _EXAMPLE_DRAWS if of.dropouts else c(""),
        "dropout": c("dropout, ") if of.dropouts else c(""),
        "columns": c("GENERATOR_WIDTH") + _times("GENERATOR_CHANNELS", of.image[0]),
    }.items():
        text = text.replace(f"@{mark}@", value)
    return s.fill(text)


def _times(name: str, channels: int) -> Text[C]:
    return c("") if channels in (1, 3) else c(" * {name}", name=c_identifier(name))


def _of(s: Source) -> ImageToImage:
    assert isinstance(s.plan.of, ImageToImage)
    return s.plan.of


def _parameter(s: Source) -> Text[C]:
    return c("const float *dropout, ") if _of(s).dropouts else c("")


def _numbers(s: Source) -> Text[C]:
    """Return the constant of the numbers that all dropouts of an image take, if there are any."""
    counts = [grid(port.dims({})).size for port in _of(s).dropouts]
    if not counts:
        return c("")
    return c("    GENERATOR_DROPOUT = {count}, /* {of} */\n", count=sum(counts), of=c(" + ").join(_whole(counts)))


def _drawing(s: Source) -> Text[C]:
    """Return the function that draws the numbers of the dropouts, each from a stream of its own."""
    ports = _of(s).dropouts
    return c(
        """\
void generator_dropout(uint64_t seed, uint64_t index, float dropout[GENERATOR_DROPOUT])
{{
    static const uint32_t streams[{n}] = {{{streams}}}, counts[{n}] = {{{counts}}};
    uint32_t c[4] = {{0}};
    for (int n = 0; n < {n}; n++)
        for (uint32_t i = 0; i < counts[n]; i++) {{ /* in the order of channels, rows, columns */
            if (i % 8 == 0) random_words(seed, index, i / 8, streams[n], c);
            *dropout++ = (float)((((c[i % 8 / 2] >> (i % 2 * 16)) & 0xFFFFu) + 0.5) / 65536.0);
        }}
}}
""",
        counts=c(", ").join(_whole([grid(port.dims({})).size for port in ports])),
        n=len(ports),
        streams=c(", ").join(_whole([port.stream or 0 for port in ports])),
    )


def _whole(numbers: list[int]) -> list[Text[C]]:
    return [c("{n}", n=n) for n in numbers]


def _range(bounds: tuple[float, float] | None) -> Text[C]:
    return c("without bounds") if bounds is None else c("in [{low:g}, {high:g}]", high=bounds[1], low=bounds[0])


def _picture(s: Source) -> Text[C]:
    plan, names = s.plan, s.names
    statements = [c("const float *const input = workspace + {at};", at=plan.input_at)]
    first = 0
    for port in _of(s).dropouts:
        statements.append(c("const float *const {name} = dropout + {at};", at=first, name=names[port.name]))
        first += grid(port.dims({})).size
    for step in plan.steps:
        statements += lines(plan, step, names)
    return c(
        """\
/* Run the layers in order on the image in the workspace; return the output of the last one, {shape}. */
static const float *draw(const generator_weights *weights, {dropout}float *workspace)
{{
{ignored}{body}
    return {output};
}}
""",
        body=c("\n").join(c("    {line}", line=line) for line in statements),
        dropout=_parameter(s),
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
void generator_floats(const generator_weights *weights, const float *input, {dropout}float *workspace,
                      float *picture)
{{
    float *to = workspace + {at};
    const float *x;
    for (int c = 0; c < {i.c}; c++)
        for (int i = 0; i < {i.h} * {i.w}; i++) to[i * {i.c} + c] = input[c * ({i.h} * {i.w}) + i];
    x = draw(weights, {passed}workspace);
    for (int i = 0; i < {o.h} * {o.w}; i++)
        for (int c = 0; c < {o.c}; c++) picture[c * ({o.h} * {o.w}) + i] = x[i * {o.c} + c];
}}

void generator_bytes(const generator_weights *weights, const unsigned char *input, {dropout}float *workspace,
                     unsigned char *picture)
{{
    float *to = workspace + {at};
    const float *x;
    for (int i = 0; i < {i.h} * {i.w} * {i.c}; i++) to[i] = (float)input[i] * {scale} + {low};
    x = draw(weights, {passed}workspace);
    for (int i = 0; i < {o.h} * {o.w} * {o.c}; i++) {{
        const float level = {value} * 127.5f + 128.0f;
        picture[i] = (unsigned char)(!(level > 0.0f) ? 0.0f : level >= 255.0f ? 255.0f : level);
    }}
}}
""",
        at=s.plan.input_at,
        dropout=_parameter(s),
        i=grid(of.input),
        low=fragments.number(low),
        o=grid(of.image),
        passed=c("dropout, ") if of.dropouts else c(""),
        scale=fragments.number(float(np.float32((high - low) / 255))),
        value=value,
    )
