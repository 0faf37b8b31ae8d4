"""caogang/wgan-gp's MNIST generator: Linear, two transposed convolutions of kernel 5, one of 8; a sigmoid.

4 -> 8, cut to 7 -> 11 -> 28.  Its modules are defined in another order than they run.
"""

from __future__ import annotations

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError


def _build(draft: SpecBuilder) -> None:
    first, second, last = (draft.module(p) for p in ("block1.0", "block2.0", "deconv_out"))
    if [m.kernel for m in (first, second, last)] != [5, 5, 8]:
        raise DoesNotFitError("its kernels are 5, 5, 8")
    head = draft.module("preprocess.0")
    draft.latent(head.linear[0])
    draft.linear("fc", head)
    draft.activation("", "fc_")
    draft.picture(first.transposed[0])
    draft.conv_transpose("convt0", first, stride=1, padding=0)
    draft.activation(0)
    draft.crop("crop", 7)
    draft.conv_transpose("convt1", second, stride=1, padding=0)
    draft.activation(1)
    draft.conv_transpose("convt2", last, stride=2, padding=0)
    draft.output()


FAMILY = Family("caogang", "caogang/wgan-gp's MNIST generator", _build, output="sigmoid")
