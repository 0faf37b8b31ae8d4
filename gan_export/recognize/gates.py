"""Append products with a sigmoid: gated linear units, and SiLU."""

from __future__ import annotations

from gan_export.graph.layers import Activation, Channels, Multiply
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.state_dict import DoesNotFitError


def gated_unit(draft: SpecBuilder, name: str) -> str:
    """Append the product of the first half of the channels and a sigmoid of the second half; return its name."""
    x, channels = draft.last, draft.shape[0]
    if channels % 2:
        raise DoesNotFitError(f"{channels} channels before a gated linear unit")
    value = draft.add(Channels, f"{name}_value", inputs=(x,), start=0, count=channels // 2)
    draft.add(Channels, f"{name}_gate", inputs=(x,), start=channels // 2, count=channels // 2)
    gate = draft.add(Activation, f"{name}_sigmoid", kind="sigmoid")
    return draft.add(Multiply, name, inputs=(value, gate))


def silu(draft: SpecBuilder, name: str) -> str:
    """Append SiLU, which is also called Swish: x × sigmoid(x); return its name."""
    value = draft.last
    gate = draft.add(Activation, f"{name}_sigmoid", kind="sigmoid")
    return draft.add(Multiply, name, inputs=(value, gate))
