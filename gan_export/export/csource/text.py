"""The files of a C export, put together from the parts beside and the layers' functions."""

from __future__ import annotations

import importlib.resources
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gan_export.arch.layers import Activation, Conv, ConvTranspose, Linear
from gan_export.artifact import Manifest
from gan_export.export.csource import layers
from gan_export.export.csource.plan import Plan, Step, is_folded
from gan_export.export.csource.weights import TYPES, Member, checksums


@dataclass(frozen=True, slots=True)
class Source:
    """Everything that the files are written from.

    symbol: what every public name begins with, and the files' own name
    names:  of the layers, in C
    """

    symbol: str
    plan: Plan
    members: Sequence[Member]
    names: layers.Names
    manifest: Manifest
    embedded: bool

    @property
    def data(self) -> bytes:
        """The weights as they lie in memory: the struct, little-endian."""
        return b"".join(np.ascontiguousarray(m.values).tobytes() for m in self.members)

    def member(self, m: Member) -> str:
        """Its name in the struct."""
        return f"{self.names[m.layer]}_{m.part}"

    def fill(self, text: str) -> str:
        """`text` of a part with this generator's names."""
        return text.replace("GENERATOR", self.symbol.upper()).replace("generator_", f"{self.symbol}_")


def header(s: Source) -> str:
    """SYMBOL.h."""
    spec, facts = s.plan.spec, s.manifest.facts
    c, h, w = spec.image
    low, high = spec.range or (None, None)
    label = "uint32_t label, " if spec.classes else ""
    struct = "\n".join(f"    {_declared(s, m)} /* {m.comment} */" for m in s.members)
    members = "" if not s.members else struct
    files = f"{s.symbol}.c" + (f" {s.symbol}_weights.c" if s.embedded else "")
    where = (
        f" * The weights are {s.symbol}_embedded, in {s.symbol}_weights.c.\n"
        if s.embedded
        else f" * Read {s.symbol}.weights into a {s.symbol}_weights, or map it (little-endian machines alone).\n"
    )
    classes = f"    GENERATOR_CLASSES = {spec.classes}, /* labels are 0 .. CLASSES-1 */\n" if spec.classes else ""
    labels = (
        "/* The random label of picture `index` of `seed`. */\n"
        "uint32_t generator_label(uint64_t seed, uint64_t index);\n\n"
        if spec.classes
        else ""
    )
    embedded = "extern const generator_weights generator_embedded;\n\n" if s.embedded else ""
    bound = "without bounds" if low is None else f"in [{low:g}, {high:g}]"
    text = f"""\
/* {s.symbol}.h: draws the pictures of one generator, {w}x{h}x{c}, in plain C and with nothing else.
 *
{_provenance(s)}
 *
 *   cc -std=c99 -O3 -march=native {files} example.c -lm -o example
 *
 * Nothing here allocates, prints or keeps state: give each thread its own workspace.  A picture of (seed, index) is
 * the same on every machine, up to the rounding of sums: 1 byte in 10,000 may differ, by 1.
{where} */
#ifndef GENERATOR_H
#define GENERATOR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

enum {{
    GENERATOR_LATENT = {facts.nz},
{classes}    GENERATOR_CHANNELS = {c},
    GENERATOR_HEIGHT = {h},
    GENERATOR_WIDTH = {w},
    GENERATOR_WORKSPACE = {s.plan.workspace} /* floats, {4 * s.plan.workspace / 1024:.0f} KB */
}};

typedef struct generator_weights {{
{members}
}} generator_weights; /* {len(s.data)} bytes */

{embedded}/* 1 if these are the weights that this code was written for, in this machine's byte order; otherwise 0. */
int generator_check(const generator_weights *weights);

/* The latents of picture `index` of `seed`: {_prior(s)}. */
void generator_latent(uint64_t seed, uint64_t index, float z[GENERATOR_LATENT]);

{labels}/* One picture, float [CHANNELS][HEIGHT][WIDTH], {bound}.  `workspace`: GENERATOR_WORKSPACE floats. */
void generator_floats(const generator_weights *weights, const float *z, {label}float *workspace, float *picture);

/* One picture, bytes [HEIGHT][WIDTH][CHANNELS]: clamp(floor(x * 127.5 + 128), 0, 255) of x in [-1, 1]. */
void generator_bytes(const generator_weights *weights, const float *z, {label}float *workspace, unsigned char *picture);

#ifdef __cplusplus
}}
#endif
#endif
"""
    return s.fill(text)


def source(s: Source) -> str:
    """SYMBOL.c."""
    plan, spec, precision = s.plan, s.plan.spec, s.manifest.precision
    kinds = {step.layer.kind for step in plan.steps if isinstance(step.layer, Activation)}
    products = [step.layer for step in plan.steps if isinstance(step.layer, Linear | Conv | ConvTranspose)]
    normal = spec.prior == "normal"
    parts = [
        f"/* {s.symbol}.c: see {s.symbol}.h.\n *\n{_provenance(s)}\n */\n",
        f'#include "{s.symbol}.h"\n\n' + ("#include <math.h>\n" if normal else "") + "#include <string.h>\n",
        _part("latents") + _part("normal" if normal else "uniform"),
    ]
    if products:
        parts.append(_part("tiles") + (_part(precision) if precision != "fp32" else "") + _products(precision))
    begins = any(p.bias and not is_folded(p) for p in products)
    clears = any(not p.bias or is_folded(p) for p in products)
    helpers = [
        ("bias", begins),
        ("zeros", clears),
        ("exponential", bool(kinds & {"tanh", "sigmoid"})),
        *((kind, kind in kinds) for kind in ("relu", "leaky_relu", "tanh", "sigmoid")),
    ]
    chosen = "".join(_part(name) for name, used in helpers if used)
    parts.append("/* ---- the layers, each picture as [row][column][channel] ---- */\n" + chosen)
    for step in plan.steps:
        if step.layer.name not in plan.views and (text := layers.function(plan, step, s.names, precision)):
            parts.append(text.replace("@symbol@", s.symbol))
    parts += [_picture(s), _public(s)]
    return s.fill("\n".join(parts))


def embedded_weights(s: Source) -> str:
    """SYMBOL_weights.c: the weights as constants."""
    arrays = []
    for m in s.members:
        text = ", ".join(layers.number(float(v)) if m.values.dtype == np.float32 else str(v) for v in m.values.tolist())
        body = textwrap.fill(text, 118, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
        arrays.append(f"    /* {s.member(m)}, {m.comment} */\n    {{\n{body}\n    }}")
    head = f"/* {s.symbol}_weights.c: the weights of {s.symbol}.h.\n *\n{_provenance(s)}\n */\n"
    body = ",\n".join(arrays)
    return s.fill(f'{head}#include "{s.symbol}.h"\n\nconst generator_weights generator_embedded = {{\n{body}\n}};\n')


def example(s: Source) -> str:
    """example.c: one picture to a PNM file."""
    spec = s.plan.spec
    c = spec.image[0]
    read = "" if s.embedded else _READ
    files = f"{s.symbol}.c {s.symbol}_weights.c" if s.embedded else f"{s.symbol}.c"
    before = "" if s.embedded else f"{s.symbol}.weights "
    picture = "picture.ppm" if c == 3 else "picture.pgm"
    label = " [label]" if spec.classes else ""
    given = 2 if s.embedded else 3
    chosen = (
        "    const uint32_t label = argc > given + 2\n"
        "                               ? (uint32_t)(strtoul(argv[given + 2], NULL, 10) % GENERATOR_CLASSES)\n"
        "                               : generator_label(seed, index);\n"
    )
    grey_planes = """\
    for (int c = 0; c < GENERATOR_CHANNELS; c++) /* no PNM has so many channels: one below the other, in grey */
        for (int i = 0; i < GENERATOR_HEIGHT * GENERATOR_WIDTH; i++)
            fputc(picture[i * GENERATOR_CHANNELS + c], file);"""
    text = _part("example")
    for mark, value in {
        "symbol": s.symbol,
        "compile": f"cc -std=c99 -O3 -march=native {files} example.c -lm -o example",
        "arguments": f"{before}{picture} [seed [index{label}]]",
        "storage": "" if s.embedded else "static generator_weights weights;\n",
        "given": str(given),
        "label": chosen if spec.classes else "",
        "read": read,
        "weights": "&generator_embedded" if s.embedded else "&weights",
        "pass": "label, " if spec.classes else "",
        "pnm": "P6\\n%d %d\\n255\\n" if c == 3 else "P5\\n%d %d\\n255\\n",
        "rows": "GENERATOR_HEIGHT" if c in (1, 3) else "GENERATOR_HEIGHT * GENERATOR_CHANNELS",
        "write": "    fwrite(picture, 1, sizeof picture, file);" if c in (1, 3) else grey_planes,
    }.items():
        text = text.replace(f"@{mark}@", value)
    return s.fill(text.replace("\n\n\n", "\n\n"))


_READ = """\
    file = fopen(argv[1], "rb");
    if (file == NULL || fread(&weights, 1, sizeof weights, file) != sizeof weights || !generator_check(&weights)) {
        fprintf(stderr, "%s can't be read, or isn't the weights of this generator\\n", argv[1]);
        return 1;
    }
    fclose(file);
"""


def _part(name: str) -> str:
    files = importlib.resources.files("gan_export.export.csource") / "parts" / f"{name}.c"
    return files.read_text(encoding="utf-8")


def _products(precision: str) -> str:
    """product(), for the type that weights are stored in."""
    text = _part("product")
    arguments = {"fp16": "w + k * PANEL, some * PANEL, wide", "int8": "w + k * PANEL, unit, some, wide"}.get(precision)
    slice_ = f"        float wide[SLICE * PANEL];\n        widen({arguments});\n" if arguments else ""
    text = text.replace("@slice@\n", slice_).replace("@weights@", "wide" if arguments else "w + k * PANEL")
    units = " const float *unit," if precision == "int8" else ""
    return text.replace("@weight@", TYPES[precision]).replace("@scale_parameter@", units)


def _picture(s: Source) -> str:
    """The function that runs the layers in turn."""
    plan, names = s.plan, s.names
    label = "uint32_t label, " if plan.spec.classes else ""
    lines = []
    for step in plan.steps:
        lines += _lines(plan, step, names)
    reads = {name for step in plan.steps for name in step.layer.inputs}
    unused = [name for name in ("z", "label") if name not in reads and (name == "z" or plan.spec.classes)]
    unused += [] if s.members else ["weights"]
    ignored = "".join(f"    (void){name};\n" for name in unused)
    body = "\n".join(f"    {line}" for line in lines)
    return f"""\
/* The layers in turn; gives the last one's output, {layers.shape(plan.grids[plan.spec.output])}. */
static const float *draw(const generator_weights *weights, const float *z, {label}float *workspace)
{{
{ignored}{body}
    return {names[plan.spec.output]};
}}
"""


def _lines(plan: Plan, step: Step, names: layers.Names) -> list[str]:
    layer, own = step.layer, names[step.layer.name]
    shape = layers.shape(plan.grids[layer.name])
    if layer.name in plan.views:
        return [f"const float *const {own} = {names[layer.inputs[0]]}; /* as {shape} */"]
    kept = ", in place" if step.in_place else ""
    return [f"float *const {own} = workspace + {step.at}; /* {shape}{kept} */", layers.call(plan, step, names)]


def _public(s: Source) -> str:
    spec = s.plan.spec
    c, h, w = spec.image
    low, high = spec.range or (-1.0, 1.0)
    label, passed = ("uint32_t label, ", "label, ") if spec.classes else ("", "")
    first, second = checksums(s.data)
    value = "x[i]"
    if (low, high) != (-1.0, 1.0):
        value = f"((x[i] - {layers.number(low)}) * {layers.number(2.0 / (high - low))} - 1.0f)"
    labels = """
uint32_t generator_label(uint64_t seed, uint64_t index)
{
    uint32_t c[4];
    random_words(seed, index, 0, 1, c);
    return (uint32_t)(((uint64_t)c[0] * GENERATOR_CLASSES) >> 32);
}
"""
    return f"""\
int generator_check(const generator_weights *weights)
{{
    const unsigned char *bytes = (const unsigned char *)weights;
    uint32_t first = 0, second = 0;
    for (unsigned long i = 0; i + 4 <= sizeof *weights; i += 4) {{
        uint32_t word;
        memcpy(&word, bytes + i, sizeof word);
        first += word;
        second += first;
    }}
    return sizeof *weights == {len(s.data)} && first == 0x{first:08x}u && second == 0x{second:08x}u;
}}

void generator_latent(uint64_t seed, uint64_t index, float z[GENERATOR_LATENT])
{{
    uint32_t c[4] = {{0}};
    for (uint32_t i = 0; i < GENERATOR_LATENT; i++) {{
        if (i % 8 == 0) random_words(seed, index, i / 8, 0, c); /* eight coordinates of 16 bits */
        z[i] = {"normal" if spec.prior == "normal" else "uniform"}((c[i % 8 / 2] >> (i % 2 * 16)) & 0xFFFFu);
    }}
}}
{labels if spec.classes else ""}
void generator_floats(const generator_weights *weights, const float *z, {label}float *workspace, float *picture)
{{
    const float *x = draw(weights, z, {passed}workspace);
    for (int i = 0; i < {h} * {w}; i++)
        for (int c = 0; c < {c}; c++) picture[c * {h} * {w} + i] = x[i * {c} + c];
}}

void generator_bytes(const generator_weights *weights, const float *z, {label}float *workspace, unsigned char *picture)
{{
    const float *x = draw(weights, z, {passed}workspace);
    for (int i = 0; i < {h} * {w} * {c}; i++) {{
        const float level = {value} * 127.5f + 128.0f;
        picture[i] = (unsigned char)(!(level > 0.0f) ? 0.0f : level >= 255.0f ? 255.0f : level);
    }}
}}
"""


def _declared(s: Source, m: Member) -> str:
    kind = {"float32": "float", "uint16": "uint16_t", "int8": "int8_t"}[m.values.dtype.name]
    return f"{kind} {s.member(m)}[{m.values.size}];"


def _prior(s: Source) -> str:
    return "N(0, 1)" if s.plan.spec.prior == "normal" else "U(-1, 1)"


def _provenance(s: Source) -> str:
    m = s.manifest
    words = [
        f"Written by gan-export {m.versions['gan-export']} from a checkpoint of the family {m.arch}.",
        f"Source sha256: {m.source_sha256}",
        f"Weights: {m.precision}; latents: {m.latent_law}",
    ]
    if m.options:
        words.append("Options: " + ", ".join(f"{key} {value}" for key, value in sorted(m.options.items())))
    return "\n".join(f" * {line}" for line in words)
