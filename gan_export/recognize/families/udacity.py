"""Udacity's SVHN DCGAN: `fc`, then `t_conv1.0` with BatchNorm `t_conv1.1`, ..., `t_conv3.0`; z uniform on (-1, 1)."""

from __future__ import annotations

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conv_stack import ConvStage, add_conv_stack
from gan_export.recognize.draft import Family


def _build(draft: SpecBuilder) -> None:
    convs = draft.numbered("t_conv#.0", first=(1,))
    draft.project(draft.module("fc"), convs[0][1].transposed[0])
    draft.first_activation()
    add_conv_stack(draft, [ConvStage(m, draft.maybe(f"t_conv{i}.1")) for i, m in convs])


FAMILY = Family("udacity", "Udacity's SVHN DCGAN", _build, prior="uniform")
