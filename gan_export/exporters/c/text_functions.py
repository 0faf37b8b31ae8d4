"""Write the functions of a C export: a product per kind of weights, the layers in turn, and the public ones."""

from __future__ import annotations

import numpy as np

from gan_export._lib.escape import C, Text, c, c_identifier
from gan_export.exporters.c import fragments, layers
from gan_export.exporters.c.plan import Plan, Step, is_folded
from gan_export.exporters.c.source import Source, part
from gan_export.exporters.c.weights import TYPES, Product
from gan_export.exporters.gan_file import checksum
from gan_export.graph.layers import Activation


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


def picture(s: Source) -> Text[C]:
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


def public(s: Source) -> Text[C]:
    """Return the public functions."""
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
