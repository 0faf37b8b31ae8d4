"""Residual blocks that double the size, as the ResNet generators of SNGAN have them."""

from __future__ import annotations

from dataclasses import dataclass

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.state_dict import Module


@dataclass(frozen=True, slots=True)
class Block:
    """x -> shortcut(up(x)) + conv2(relu(norm2(conv1(up(relu(norm1(x))))))); up(x) is added itself if there is none."""

    name: str
    norm1: Module
    conv1: Module
    norm2: Module
    conv2: Module
    shortcut: Module | None


def residual(draft: SpecBuilder, first: Module, blocks: list[Block], norm: Module, last: Module) -> None:
    """The whole generator: `first` Linear, `blocks`, then `norm`, activation, `last` Conv2d, output."""
    draft.project(first, blocks[0].conv1.conv[0])
    for b in blocks:
        at, n = draft.last, f"{b.name}_"
        draft.batch_norm(f"{n}bn1", b.norm1)
        draft.activation(1, n)
        draft.upsample(f"{n}up")
        draft.conv(f"{n}conv1", b.conv1)
        draft.batch_norm(f"{n}bn2", b.norm2)
        draft.activation(2, n)
        draft.conv(f"{n}conv2", b.conv2)
        inner = draft.last
        draft.upsample(f"{n}up_shortcut", inputs=(at,))
        if b.shortcut is not None:
            draft.conv(f"{n}shortcut", b.shortcut)
        draft.plus(f"{n}sum", inner, draft.last)
    draft.batch_norm("bn", norm)
    draft.activation("")
    draft.conv("conv", last)
    draft.output()
