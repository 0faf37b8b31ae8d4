"""Dropout that a script leaves on: off, or by seed and index, its numbers an input of each dropout."""

from __future__ import annotations

from collections.abc import Sequence

from gan_export import latents
from gan_export.graph.layers import Dropout
from gan_export.graph.ports import Port, Uniform
from gan_export.recognize.builder import SpecBuilder

RATE = 0.5


def masks(draft: SpecBuilder, places: Sequence[tuple[int, int]], *, hidden: bool = False) -> tuple[Port, ...]:
    """The inputs of the dropouts whose values have (channels, H / n, W / n) each; none if dropout is off.

    hidden: whether the file's keys leave open if there are dropouts at all
    """
    if not places:
        return ()
    shown = "off, as after eval()" + ("; the keys don't show if there was any" if hidden else "")
    draft.chosen["dropout"] = draft.choice("dropout", "off", "dropout", shown)
    if draft.chosen["dropout"] == "off":
        return ()
    return tuple(
        Port(
            f"dropout{k}", "noise", (channels, f"H/{n}", f"W/{n}"), prior=Uniform(0.0, 1.0),
            stream=latents.STREAM_DROPOUT[k],
        )
        for k, (channels, n) in enumerate(places)
    )  # fmt: skip


def drop(draft: SpecBuilder, name: str, mask: Port) -> str:
    """Drop half of the last value's numbers, by the input `mask`."""
    return draft.add(Dropout, name, inputs=(draft.last, mask.name), rate=RATE)
