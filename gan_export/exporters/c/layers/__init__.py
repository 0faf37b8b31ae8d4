"""Write each layer as a C function with its shapes as constants; one file per group of layers.

A group's `WRITERS` has each class of layer that it writes; an activation is a call of a helper (`call`).
"""

from __future__ import annotations

from collections.abc import Mapping

from gan_export._lib.escape import C, Text, c, c_identifier
from gan_export.errors import GanExportError, printable
from gan_export.exporters.c import fragments
from gan_export.exporters.c.layers import elementwise, images_in, labels, layout, nd, products, resampling
from gan_export.exporters.c.layers.base import Names, Place, Writer
from gan_export.exporters.c.plan import Grid, Plan, Step
from gan_export.graph.layers import Activation, Layer

__all__ = ["Names", "call", "function"]

WRITERS: Mapping[type, Writer] = {
    **products.WRITERS,
    **elementwise.WRITERS,
    **layout.WRITERS,
    **resampling.WRITERS,
    **labels.WRITERS,
    **nd.WRITERS,
    **images_in.WRITERS,
}


def function(plan: Plan, step: Step, names: Names, precision: str) -> Text[C]:
    """Return a layer's function; empty if it needs none (an activation is a call of a helper)."""
    layer = step.layer
    if isinstance(layer, Activation):
        return c("")
    writer = WRITERS.get(type(layer))
    if writer is None:
        raise GanExportError(
            f"c can't write layer {printable(layer.name)} ({type(layer).__name__}); "
            "export to onnx, torchscript, pt2 or openvino"
        )
    own = names[layer.name]
    ins, out = tuple(plan.grids[name] for name in layer.inputs), plan.grids[layer.name]
    body = writer.body(Place(layer, own, ins, out, precision))
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
        title=writer.title(layer),
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
    scratch = [c("workspace + {at}", at=at) for at, _ in step.scratch.values()]
    arguments = [
        *([c("weights")] if layer.parameters() else []),
        *(names[name] for name in layer.inputs),
        *scratch,
        own,
    ]
    return c("run_{own}({arguments});", arguments=c(", ").join(arguments), own=own)


def _inputs(layer: Layer) -> list[Text[C]]:
    if layer.inputs == ("label",):
        return [c("uint32_t label")]
    if len(layer.inputs) == 1:
        return [c("const float *x")]
    return [c("const float *x{i}", i=i) for i in range(len(layer.inputs))]


def _reads(layer: Layer, ins: tuple[Grid, ...]) -> Text[C]:
    if layer.inputs == ("label",):
        return c("label")
    if len(ins) == 1:
        return c("x{shape}", shape=fragments.shape(ins[0]))
    return c(", ").join(c("x{i}{shape}", i=i, shape=fragments.shape(g)) for i, g in enumerate(ins))
