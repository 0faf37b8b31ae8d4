"""Recognize torchgan's DCGANGenerator and ConditionalGANGenerator: blocks as in `blocks`, with LeakyReLU.

Its biases distinguish it from other Sequentials of blocks: the last layer always has one, the other layers if no
BatchNorm follows.
"""

from __future__ import annotations

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conv_stack import add_conv_stack
from gan_export.recognize.draft import Family
from gan_export.recognize.families.blocks import nested
from gan_export.recognize.state_dict import DoesNotFitError


def _build(draft: SpecBuilder) -> None:
    stages = nested(draft)
    hidden, last = stages[:-1], stages[-1]
    if last.norm is not None or not last.conv.bias or not last.conv.path.endswith(".0"):
        raise DoesNotFitError("torchgan's last layer is a block of one layer with a bias")
    if any(s.conv.bias != (s.norm is None) for s in hidden) or any(s.conv.kernel != 4 for s in stages):
        raise DoesNotFitError("torchgan's layers have kernels of 4, and a bias or a BatchNorm")
    draft.seed(stages[0].conv)
    add_conv_stack(draft, stages)


FAMILY = Family("torchgan", "torchgan's DCGANGenerator", _build, slope=0.2)
