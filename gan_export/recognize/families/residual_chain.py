"""A generic reading of residual generators: a Linear, blocks that double the size, a BatchNorm and a Conv2d.

The names don't matter, if the modules of each block share a prefix.  A block has two BatchNorms, two 3x3 convolutions
and a 1x1 convolution as the shortcut, or no shortcut if its channels stay.  The channels tell the modules apart; if all
channels are equal, the order of the keys does.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.options import Assumption
from gan_export.recognize.residual import Block, residual
from gan_export.recognize.state_dict import DoesNotFitError, Module

_DEEPEST = 6  # limit for the length of a block's prefix, in names
_PARTS = (4, 5)  # modules of a block, without a shortcut and with one


def _build(draft: SpecBuilder) -> None:
    modules = [draft.module(path) for path in draft.state.order]
    if len(modules) < min(_PARTS) + 3:
        raise DoesNotFitError("not a Linear, residual blocks, a BatchNorm and a Conv2d")
    first, *inner, norm, last = modules
    if first.kind != "linear":
        raise DoesNotFitError(f"{first.key} is {first}, not a first Linear")
    groups = _groups(inner)
    blocks = [_block(f"block{i}", group) for i, group in enumerate(groups)]
    draft.notes.append(
        "its layers are taken in the order of the file's keys, each block enlarging before its first conv"
    )
    if plain := [group[0].path.rpartition(".")[0] for group in groups if len(group) == min(_PARTS)]:
        what = f"what {plain[0]}" + (" and others add" if plain[1:] else " adds") + " to its output"
        draft.assumed.append(Assumption(what, "its input, enlarged", "module=", ("nothing",)))
    residual(draft, first, blocks, norm, last)


def _groups(modules: Sequence[Module]) -> list[list[Module]]:
    """Return the modules in blocks, by the shortest prefix that gives such blocks."""
    for depth in range(1, _DEEPEST):
        groups = [
            list(group)
            for _, group in itertools.groupby(modules, lambda m: m.path.split(".")[:depth])  # noqa: B023
        ]
        if all(len(group) in _PARTS for group in groups):
            return groups
    raise DoesNotFitError("its layers are not in blocks of two BatchNorms and two convolutions, or three")


def _block(name: str, modules: list[Module]) -> Block:
    norms = [m for m in modules if m.kind == "batchnorm"]
    convs = [m for m in modules if m.kind == "conv" and m.kernel == 3]
    short = [m for m in modules if m.kind == "conv" and m.kernel == 1]
    where = modules[0].path.rpartition(".")[0]
    if (len(norms), len(convs)) != (2, 2) or len(norms) + len(convs) + len(short) != len(modules):
        raise DoesNotFitError(f"{where} doesn't have two BatchNorms, two 3x3 convolutions and perhaps a 1x1 one")
    inside, out = short[0].conv if short else (norms[0].channels, norms[0].channels)
    if inside == out:
        main = [m for m in modules if m not in short]
        if main[0].kind != "batchnorm":
            raise DoesNotFitError(f"{where} begins with {main[0]}: whether its BatchNorms come first isn't in the file")
    else:
        norms.sort(key=lambda m: m.channels != inside)
        convs.sort(key=lambda m: m.conv != (inside, out))
    if [m.channels for m in norms] != [inside, out] or [m.conv for m in convs] != [(inside, out), (out, out)]:
        raise DoesNotFitError(
            f"{where} is not a block from {inside} to {out} channels with BatchNorms before its layers"
        )
    return Block(name, norms[0], convs[0], norms[1], convs[1], short[0] if short else None)


FAMILY = Family("residual", "any residual blocks, in the order of the file's keys", _build, generic=True)
