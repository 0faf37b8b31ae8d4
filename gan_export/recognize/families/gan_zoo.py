"""facebookresearch/pytorch_GAN_zoo's DCGAN: `formatLayer`, then a Sequential of named layers.

Trained with the WGANGP or Logistic loss it has no last activation; the file doesn't say which.
"""

from __future__ import annotations

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conv_stack import ConvStage, add_conv_stack
from gan_export.recognize.draft import Family


def _build(draft: SpecBuilder) -> None:
    norms = {int(i): m for (i,), m in draft.matching(r"main\.batchNorm(\d{1,4})")}
    first, last = draft.module("formatLayer"), draft.module("main.outlayer")
    convs = [(0, first), *draft.numbered("main.convTranspose#", first=(1,))]
    draft.seed(first)
    add_conv_stack(draft, [*(ConvStage(m, norms.get(i)) for i, m in convs), ConvStage(last)])


FAMILY = Family("gan_zoo", "facebookresearch/pytorch_GAN_zoo's DCGAN", _build, other_outputs=("none",))
