"""The DCGAN of Coursera's GAN courses: blocks of kernels 3, 4, 3, 4 without padding, 1 -> 3 -> 6 -> 13 -> 28."""

from __future__ import annotations

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conv_stack import add_conv_stack
from gan_export.recognize.draft import Family
from gan_export.recognize.families.blocks import nested
from gan_export.recognize.state_dict import DoesNotFitError

_KERNELS = [3, 4, 3, 4]
_STRIDES = ((1, 0, 0), (1, 0, 0), (2, 0, 0), (2, 0, 0))  # the first one's 2 does nothing on one pixel


def _build(draft: SpecBuilder) -> None:
    stages = nested(draft)
    if [s.conv.kernel for s in stages] != _KERNELS:
        raise DoesNotFitError("its kernels are 3, 4, 3, 4")
    draft.seed(stages[0].conv)
    add_conv_stack(draft, stages, preferred=[(28, _STRIDES)])


FAMILY = Family("coursera", "the DCGAN of Coursera's GAN courses", _build)
