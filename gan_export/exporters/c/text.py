"""Write the files of a C export from templates and the layers' functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gan_export._lib.escape import C, Text, c, c_comment, c_identifier, c_numbers, resource
from gan_export.exporters.c import fragments, layers
from gan_export.exporters.c.plan import Plan, Step, is_folded
from gan_export.exporters.c.sizes import Sizes
from gan_export.exporters.c.weights import TYPES, Member, Product
from gan_export.exporters.gan_file import checksum
from gan_export.formats.manifest import Manifest
from gan_export.graph.layers import Activation
from gan_export.graph.views import LatentImage


@dataclass(frozen=True, slots=True)
class Source:
    """The data that the files are written from.

    symbol: the prefix of every public name, and of the files' names
    names:  C identifiers of the layers
    """

    symbol: Text[C]
    plan: Plan
    members: Sequence[Member]
    names: layers.Names
    manifest: Manifest
    embedded: bool

    @property
    def of(self) -> LatentImage:
        """The view of a signature from a latent."""
        assert isinstance(self.plan.of, LatentImage)
        return self.plan.of

    @property
    def sizes(self) -> Sizes:
        """The names of the sizes of what is made, before `fill`."""
        return Sizes(self.of.image, c("GENERATOR"))

    @property
    def data(self) -> bytes:
        """The bytes of the weights' struct, little-endian; without weights, one zero byte."""
        return b"".join(np.ascontiguousarray(m.values).tobytes() for m in self.members) or b"\0"

    def member(self, m: Member) -> Text[C]:
        """Return the name of a member of the struct."""
        return c("{layer}_{part}", layer=self.names[m.layer], part=c_identifier(m.part))

    def fill(self, text: Text[C]) -> Text[C]:
        """Return a template's text with this generator's names."""
        loud = text.replace("GENERATOR", c_identifier(str(self.symbol).upper()))
        return loud.replace("generator_", c("{symbol}_", symbol=self.symbol))


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
        _picture(s),
        check(s),
        _public(s),
    ]
    return s.fill(c("\n").join(parts))


def functions(s: Source) -> list[Text[C]]:
    """Return the matrix products, the helpers and the function of each layer."""
    plan, precision = s.plan, s.manifest.precision
    kinds = {step.layer.kind for step in plan.steps if isinstance(step.layer, Activation)}
    products = [step.layer for step in plan.steps if isinstance(step.layer, Product)]
    parts = []
    if products:
        parts.append(part("tiles") + (part(precision) if precision != "fp32" else c("")) + _products(precision))
    begins = any(p.bias and not is_folded(p) for p in products)
    clears = any(not p.bias or is_folded(p) for p in products)
    helpers = [
        ("bias", begins),
        ("zeros", clears),
        ("exponential", bool(kinds & {"tanh", "sigmoid"})),
        *((kind, kind in kinds) for kind in ("relu", "leaky_relu", "tanh", "sigmoid")),
    ]
    chosen = c("").join(part(name) for name, used in helpers if used)
    parts.append(c("/* ---- the layers, each image as [row][column][channel] ---- */\n") + chosen)
    for step in plan.steps:
        if step.layer.name not in plan.views and (text := layers.function(plan, step, s.names, precision)):
            parts.append(text.replace("@symbol@", s.symbol))
    return parts


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


def part(name: str) -> Text[C]:
    """Return the text of parts/NAME.c."""
    return resource(C, "gan_export.exporters.c", "parts", f"{name}.c")


def _products(precision: str) -> Text[C]:
    """Return product() for the type in which weights are stored."""
    text = part("product")
    widened = {"fp16": c("w + k * PANEL, some * PANEL, wide"), "int8": c("w + k * PANEL, unit, some, wide")}
    arguments = widened.get(precision)
    slice_ = (
        c("        float wide[SLICE * PANEL];\n        widen({arguments});\n", arguments=arguments)
        if arguments
        else c("")
    )
    text = text.replace("@slice@\n", slice_).replace("@weights@", c("wide") if arguments else c("w + k * PANEL"))
    units = c(" const float *unit,") if precision == "int8" else c("")
    return text.replace("@weight@", c_identifier(TYPES[precision])).replace("@scale_parameter@", units)


def _picture(s: Source) -> Text[C]:
    """Return the function that runs the layers in turn."""
    plan, names = s.plan, s.names
    label = c("uint32_t label, ") if s.of.classes else c("")
    statements = []
    for step in plan.steps:
        statements += lines(plan, step, names)
    reads = {name for step in plan.steps for name in step.layer.inputs}
    unused = [name for name in ("z", "label") if name not in reads and (name == "z" or s.of.classes)]
    unused += [] if s.members else ["weights"]
    ignored = c("").join(c("    (void){name};\n", name=c_identifier(name)) for name in unused)
    body = c("\n").join(c("    {line}", line=line) for line in statements)
    return c(
        """\
/* Run the layers in order; return the output of the last one, {shape}. */
static const float *draw(const generator_weights *weights, const float *z, {label}float *workspace)
{{
{ignored}{body}
    return {output};
}}
""",
        body=body,
        ignored=ignored,
        label=label,
        output=names[plan.spec.outputs[0]],
        shape=fragments.shape(plan.grids[plan.spec.outputs[0]]),
    )


def lines(plan: Plan, step: Step, names: layers.Names) -> list[Text[C]]:
    """Return the statements for a layer in the function that runs the layers in turn."""
    layer, own = step.layer, names[step.layer.name]
    shape = fragments.shape(plan.grids[layer.name])
    if step.at is None:
        return [
            c(
                "const float *const {own} = {source}; /* as {shape} */",
                own=own,
                shape=shape,
                source=names[layer.inputs[0]],
            )
        ]
    kept = c(", in place") if step.in_place else c("")
    return [
        c("float *const {own} = workspace + {at}; /* {shape}{kept} */", at=step.at, kept=kept, own=own, shape=shape),
        layers.call(plan, step, names),
    ]


def check(s: Source) -> Text[C]:
    """Return the function that checks the weights."""
    first, second = checksum(s.data)
    return c(
        """\
int generator_check(const generator_weights *weights)
{{
    const unsigned char *bytes = (const unsigned char *)weights;
    uint64_t first = 0, second = 0; /* the xor of the words, and their polynomial at x in GF(2^64) */
    for (unsigned long i = 0; i < sizeof *weights; i += 8) {{
        const unsigned long left = sizeof *weights - i;
        uint64_t word = 0;
        memcpy(&word, bytes + i, left < 8 ? left : 8);
        first ^= word;
        second = (second << 1) ^ (0x1B & (0 - (second >> 63))) ^ word;
    }}
    return sizeof *weights == {size} && first == UINT64_C(0x{first:016x}) && second == UINT64_C(0x{second:016x});
}}
""",
        first=first,
        second=second,
        size=len(s.data),
    )


def _public(s: Source) -> Text[C]:
    of = s.of
    low, high = of.range or (-1.0, 1.0)
    label, passed = (c("uint32_t label, "), c("label, ")) if of.classes else (c(""), c(""))
    value = c("x[i]")
    if (low, high) != (-1.0, 1.0):  # computed as docs/gan-file-format.md defines it, each operation in float32
        factor = np.float32(2) / (np.float32(high) - np.float32(low))
        offset = np.float32(-1) - np.float32(low) * factor
        value = c(
            "(x[i] * {factor} + {offset})",
            factor=fragments.number(float(factor)),
            offset=fragments.number(float(offset)),
        )
    labels = c(
        """
uint32_t generator_label(uint64_t seed, uint64_t index)
{
    uint32_t c[4];
    random_words(seed, index, 0, 1, c);
    return (uint32_t)(((uint64_t)c[0] * GENERATOR_CLASSES) >> 32);
}
"""
    )
    return c(
        """\
void generator_latent(uint64_t seed, uint64_t index, float z[GENERATOR_LATENT])
{{
    uint32_t c[4] = {{0}};
    for (uint32_t i = 0; i < GENERATOR_LATENT; i++) {{
        if (i % 8 == 0) random_words(seed, index, i / 8, 0, c); /* eight coordinates of 16 bits */
        z[i] = {draw}((c[i % 8 / 2] >> (i % 2 * 16)) & 0xFFFFu);
    }}
}}
{labels}
void generator_floats(const generator_weights *weights, const float *z, {label}float *workspace, float *picture)
{{
    const float *x = draw(weights, z, {passed}workspace);
    for (int i = 0; i < {count}; i++)
        for (int c = 0; c < {c}; c++) picture[c * {count} + i] = x[i * {c} + c];
}}

void generator_bytes(const generator_weights *weights, const float *z, {label}float *workspace, unsigned char *picture)
{{
    const float *x = draw(weights, z, {passed}workspace);
    for (int i = 0; i < {count} * {c}; i++) {{
        const float level = {value} * 127.5f + 128.0f;
        picture[i] = (unsigned char)(!(level > 0.0f) ? 0.0f : level >= 255.0f ? 255.0f : level);
    }}
}}
""",
        c=of.image[0],
        count=s.sizes.count,
        draw=c_identifier(of.prior),
        label=label,
        labels=labels if of.classes else c(""),
        passed=passed,
        value=value,
    )


def declared(s: Source, m: Member) -> Text[C]:
    """Return the declaration of a member of the struct."""
    kind = {"float32": c("float"), "uint16": c("uint16_t"), "int8": c("int8_t")}[m.values.dtype.name]
    return c("{kind} {member}[{size}];", kind=kind, member=s.member(m), size=m.values.size)


def _prior(s: Source) -> Text[C]:
    return c("N(0, 1)") if s.of.prior == "normal" else c("U(-1, 1)")


def provenance(s: Source) -> Text[C]:
    """Return the lines of a comment that say what the source was made from."""
    m = s.manifest
    words = [
        c(
            "Written by gan-export {version} from a checkpoint of the family {arch}.",
            arch=c_comment(m.arch),
            version=c_comment(m.versions["gan-export"]),
        ),
        c("Source sha256: {sha256}", sha256=c_comment(m.source_sha256)),
        c("Weights: {precision}; latents: {law}", law=c_comment(m.latent_law), precision=c_comment(m.precision)),
    ]
    if m.options:
        given = ", ".join(f"{key} {value}" for key, value in sorted(m.options.items()))
        words.append(c("Options: {given}", given=c_comment(given)))
    return c("\n").join(c(" * {line}", line=line) for line in words)
