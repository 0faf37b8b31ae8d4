"""Recognize generators with any names whose modules fit each other by their channels: the last resort.

At most one Linear comes first, then transposed convolutions and 3x3 convolutions, each with the BatchNorm of its width;
an activation follows each except the last.  Kernels of 4 double the size, except the first one on one pixel.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Literal

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conv_stack import SMALLEST, ConvStage, add_conv_stack
from gan_export.recognize.draft import Family
from gan_export.recognize.flow import order_by_channels
from gan_export.recognize.key_order import refuse_other_ways, skip_around
from gan_export.recognize.state_dict import DoesNotFitError, Module


def _by_bias(m: Module) -> bool:
    """Return whether a module is a Conv2d, by the length of its bias."""
    inside, out = m.conv
    return m.bias and inside != out and m.arrays["bias"][0] == out


def _by_kernel(m: Module) -> bool:
    """Return whether a module is a Conv2d, by its bias or else its kernel: odd ones are Conv2d in most generators."""
    inside, out = m.conv
    return _by_bias(m) if m.bias and inside != out else m.kernel % 2 == 1


def _flow(convs: list[Module]) -> list[ConvStage]:
    """Return the stages in the order of their channels, without BatchNorms."""
    for is_conv in (_by_kernel, _by_bias):
        kinds: dict[str, Literal["conv", "convt"]] = {m.key: "conv" if is_conv(m) else "convt" for m in convs}
        order = order_by_channels(convs, lambda m: m.conv if kinds[m.key] == "conv" else m.transposed)  # noqa: B023
        rising = [m for m in order or () if kinds[m.key] == "convt"]
        # The stride of an odd kernel is unknown; only for the last one there is a usual value.
        if order and rising and all(m.kernel % 2 == 0 or m is order[-1] for m in rising):
            return [ConvStage(m, kind=kinds[m.key]) for m in order]
    raise DoesNotFitError("no transposed convolutions whose channels fit each other")


def _build(draft: SpecBuilder) -> None:
    modules = list(draft.state.modules.values())
    refuse_other_ways(modules)
    linears = [m for m in modules if m.kind == "linear"]
    count = 0
    norms: dict[int, deque[Module]] = defaultdict(deque)  # by their channels
    for m in modules:
        if m.kind == "batchnorm":
            count += 1
            norms[m.channels].append(m)
    stages = _flow([m for m in modules if m.kind == "conv"])
    if len(stages) + len(linears) < 2:
        raise DoesNotFitError("it has only one layer")
    if linears[1:]:
        raise DoesNotFitError("more than one Linear")
    first = stages[0].conv
    width = first.conv[0] if stages[0].kind == "conv" else first.transposed[0]
    if linears:
        draft.project(linears[0], width)
        if count == len(stages):  # one is for the projection
            if not norms[width]:
                raise DoesNotFitError(f"no BatchNorm of {width} channels is left")
            draft.batch_norm("fc_bn", norms[width].popleft())
            draft.activation("", "fc_")
        else:
            draft.first_activation()
    else:
        draft.seed(first)
    hidden = []
    for s in stages[:-1]:
        wide = s.conv.conv[1] if s.kind == "conv" else s.conv.transposed[1]
        hidden.append(ConvStage(s.conv, norms[wide].popleft() if norms[wide] else None, s.kind))
    if around := next((s.conv for s in hidden if s.kind == "conv" and len(set(s.conv.conv)) == 1), None):
        draft.assumed.append(skip_around(around.key))
    start = draft.shape[1]
    add_conv_stack(draft, [*hidden, stages[-1]])
    if draft.shape[1] < max(2 * start, SMALLEST):
        raise DoesNotFitError(f"its layers give {draft.shape[1]}x{draft.shape[1]} from {start}x{start}, not an image")


FAMILY = Family("chain", "any names, by the flow of channels", _build, generic=True)
