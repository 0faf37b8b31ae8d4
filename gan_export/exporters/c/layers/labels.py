"""Write the layers that read the label: Embedding and OneHot."""

from __future__ import annotations

from collections.abc import Mapping

from gan_export._lib.escape import C, Text, c
from gan_export.exporters.c.layers.base import Place, Writer
from gan_export.graph.layers import Embedding, OneHot


def _embedding(at: Place) -> Text[C]:
    return c(
        """
    for (int c = 0; c < {d}; c++) y[c] = weights->{own}_weight[label * {d} + (uint32_t)c];""",
        d=at.layer.dim,
        own=at.own,
    )


def _one_hot(at: Place) -> Text[C]:
    return c(
        """
    for (uint32_t c = 0; c < {n}; c++) y[c] = c == label;""",
        n=at.layer.classes,
    )


WRITERS: Mapping[type, Writer] = {
    Embedding: Writer(_embedding, lambda _: c("the label's row of a table")),
    OneHot: Writer(_one_hot, lambda _: c("1 at the label, 0 elsewhere")),
}
