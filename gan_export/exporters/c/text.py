"""Write the files of a C export from templates and the layers' functions."""

from __future__ import annotations

from gan_export._lib.escape import C, Text, c, c_numbers
from gan_export.exporters.c.source import Source, declared, part, provenance
from gan_export.exporters.c.text_functions import check, functions, picture, public


def header(s: Source) -> Text[C]:
    """Return the text of SYMBOL.h."""
    of = s.of
    sizes = s.sizes
    sides = c("\n").join(
        c("    {name} = {side},", name=name, side=side) for name, side in zip(sizes.names, of.image[1:], strict=True)
    )
    of_image = c("x").join(c("{side}", side=side) for side in (*of.image[:0:-1], of.image[0]))
    bound = c("without bounds")
    if of.range is not None:
        bound = c("in [{low:g}, {high:g}]", low=of.range[0], high=of.range[1])
    label = c("uint32_t label, ") if of.classes else c("")
    struct = c("\n").join(
        c("    {declared} /* {comment} */", comment=m.comment, declared=declared(s, m)) for m in s.members
    )
    members = struct if s.members else c("    char none; /* this generator has no weights */")
    files = c("{symbol}.c", symbol=s.symbol) + (c(" {symbol}_weights.c", symbol=s.symbol) if s.embedded else c(""))
    where = (
        c(" * The weights are {symbol}_embedded, in {symbol}_weights.c.\n", symbol=s.symbol)
        if s.embedded
        else c(
            " * Read {symbol}.weights into a {symbol}_weights, or map it (only on little-endian machines).\n",
            symbol=s.symbol,
        )
    )
    classes = (
        c("    GENERATOR_CLASSES = {classes}, /* labels are 0 .. CLASSES-1 */\n", classes=of.classes)
        if of.classes
        else c("")
    )
    labels = (
        c(
            "/* The random label of image `index` of `seed`. */\n"
            "uint32_t generator_label(uint64_t seed, uint64_t index);\n\n"
        )
        if of.classes
        else c("")
    )
    embedded = c("extern const generator_weights generator_embedded;\n\n") if s.embedded else c("")
    text = c(
        """\
/* {symbol}.h: generates the {kind}s of one generator, {of_image}, in plain C without dependencies.
 *
{provenance}
 *
 *   cc -std=c99 -O3 -march=native {files} example.c -lm -o example
 *
 * Nothing here allocates, prints or keeps state: give each thread its own workspace.  The image of (seed, index) is
 * the same on every machine, up to the rounding of sums: 1 byte in 10,000 may differ, by 1.
{where} */
#ifndef GENERATOR_H
#define GENERATOR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

enum {{
    GENERATOR_LATENT = {nz},
{classes}    GENERATOR_CHANNELS = {c},
{sides}
    GENERATOR_WORKSPACE = {workspace} /* floats, {kilobytes:.0f} KB */
}};

typedef struct generator_weights {{
{members}
}} generator_weights; /* {size} bytes */

{embedded}/* 1 if these are the weights that this code was written for, in this machine's byte order; otherwise 0. */
int generator_check(const generator_weights *weights);

/* The latents of image `index` of `seed`: {prior}. */
void generator_latent(uint64_t seed, uint64_t index, float z[GENERATOR_LATENT]);

{labels}/* One {kind}, float [CHANNELS]{index}, {bound}.  `workspace`: GENERATOR_WORKSPACE floats. */
void generator_floats(const generator_weights *weights, const float *z, {label}float *workspace, float *picture);

/* One {kind}, bytes {index}[CHANNELS]: clamp(floor(x * 127.5 + 128), 0, 255) of x in [-1, 1]. */
void generator_bytes(const generator_weights *weights, const float *z, {label}float *workspace, unsigned char *picture);

#ifdef __cplusplus
}}
#endif
#endif
""",
        bound=bound,
        c=of.image[0],
        classes=classes,
        embedded=embedded,
        files=files,
        index=sizes.index,
        kilobytes=4 * s.plan.workspace / 1024,
        kind=sizes.kind,
        label=label,
        labels=labels,
        members=members,
        nz=of.nz,
        of_image=of_image,
        prior=_prior(s),
        provenance=provenance(s),
        sides=sides,
        size=len(s.data),
        symbol=s.symbol,
        where=where,
        workspace=s.plan.workspace,
    )
    return s.fill(text)


def source(s: Source) -> Text[C]:
    """Return the text of SYMBOL.c."""
    normal = s.of.prior == "normal"
    parts = [
        c("/* {symbol}.c: see {symbol}.h.\n *\n{provenance}\n */\n", provenance=provenance(s), symbol=s.symbol),
        c('#include "{symbol}.h"\n\n', symbol=s.symbol)
        + (c("#include <math.h>\n") if normal else c(""))
        + c("#include <string.h>\n"),
        part("latents") + part("normal" if normal else "uniform"),
        *functions(s),
        picture(s),
        check(s),
        public(s),
    ]
    return s.fill(c("\n").join(parts))


def embedded_weights(s: Source) -> Text[C]:
    """Return the text of SYMBOL_weights.c: the weights as constants."""
    arrays = []
    for m in s.members:
        body = c_numbers(m.values.tolist()).wrapped(118, "    ")
        arrays.append(
            c(
                "    /* {member}, {comment} */\n    {{\n{body}\n    }}",
                body=body,
                comment=m.comment,
                member=s.member(m),
            )
        )
    head = c(
        "/* {symbol}_weights.c: the weights of {symbol}.h.\n *\n{provenance}\n */\n",
        provenance=provenance(s),
        symbol=s.symbol,
    )
    body = c(",\n").join(arrays) if arrays else c("    0")
    return s.fill(
        c(
            '{head}#include "{symbol}.h"\n\nconst generator_weights generator_embedded = {{\n{body}\n}};\n',
            body=body,
            head=head,
            symbol=s.symbol,
        )
    )


def example(s: Source) -> Text[C]:
    """Return the text of example.c, which writes one image to a PNM file."""
    of = s.of
    channels = of.image[0]
    read = c("") if s.embedded else part("example_weights")
    files = c("{symbol}.c {symbol}_weights.c", symbol=s.symbol) if s.embedded else c("{symbol}.c", symbol=s.symbol)
    before = c("") if s.embedded else c("{symbol}.weights ", symbol=s.symbol)
    picture = c("picture.ppm") if channels == 3 else c("picture.pgm")
    label = c(" [label]") if of.classes else c("")
    given = 2 if s.embedded else 3
    chosen = c(
        "    const uint32_t label = argc > given + 2\n"
        "                               ? (uint32_t)(strtoul(argv[given + 2], NULL, 10) % GENERATOR_CLASSES)\n"
        "                               : generator_label(seed, index);\n"
    )
    gray_planes = c(
        """\
    for (int c = 0; c < GENERATOR_CHANNELS; c++) /* a PNM has 1 or 3: planes below each other, in gray */
        for (int i = 0; i < {pixels}; i++)
            fputc(picture[i * GENERATOR_CHANNELS + c], file);""",
        pixels=s.sizes.pixels,
    )
    rows = s.sizes.rows
    text = part("example")
    for mark, value in {
        "symbol": s.symbol,
        "compile": c("cc -std=c99 -O3 -march=native {files} example.c -lm -o example", files=files),
        "arguments": c("{before}{picture} [seed [index{label}]]", before=before, label=label, picture=picture),
        "storage": c("") if s.embedded else c("static generator_weights weights;\n"),
        "given": c("{n}", n=given),
        "label": chosen if of.classes else c(""),
        "read": read,
        "weights": c("&generator_embedded") if s.embedded else c("&weights"),
        "pass": c("label, ") if of.classes else c(""),
        "pnm": c("P6\\n%d %d\\n255\\n") if channels == 3 else c("P5\\n%d %d\\n255\\n"),
        "numbers": c("{pixels} * GENERATOR_CHANNELS", pixels=s.sizes.pixels),
        "width": s.sizes.names[-1],
        "kind": s.sizes.kind,
        "rows": rows if channels in (1, 3) else c("{rows} * GENERATOR_CHANNELS", rows=rows),
        "write": c("    fwrite(picture, 1, sizeof picture, file);") if channels in (1, 3) else gray_planes,
    }.items():
        text = text.replace(f"@{mark}@", value)
    return s.fill(text.replace("\n\n\n", c("\n\n")))


def _prior(s: Source) -> Text[C]:
    return c("N(0, 1)") if s.of.prior == "normal" else c("U(-1, 1)")
