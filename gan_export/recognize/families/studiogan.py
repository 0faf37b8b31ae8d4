"""PyTorch-StudioGAN's deep_conv: `linear0`, `blocks.i.0.deconv0` and `.bn0`, `conv4`; its BatchNorms have eps 1e-4.

Its conditional BatchNorms and self-attention are not read.
"""

from __future__ import annotations

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conv_stack import ConvStage, add_conv_stack
from gan_export.recognize.draft import Family


def _build(draft: SpecBuilder) -> None:
    convs = draft.numbered("blocks.#.0.deconv0")
    draft.project(draft.module("linear0"), convs[0][1].transposed[0])
    draft.first_activation()
    stages = [ConvStage(m, draft.maybe(f"blocks.{i}.0.bn0")) for i, m in convs]
    last = draft.maybe("conv4") or draft.module("conv2d4")
    add_conv_stack(draft, [*stages, ConvStage(last, kind="conv")])


FAMILY = Family("studiogan", "PyTorch-StudioGAN's deep_conv", _build, bn_eps=1e-4)
