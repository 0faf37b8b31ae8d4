"""A Sequential of blocks, each a Sequential of ConvTranspose2d, BatchNorm2d, ReLU: `net.0.0`, `net.0.1`, ... `net.4`.

aladdinpersson's Machine-Learning-Collection, and others who write a block function.  The last layer may be bare
(`net.4`) or a block of its own (`net.4.0`).
"""

from __future__ import annotations

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conv_stack import ConvStage, add_conv_stack
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError


def nested(draft: SpecBuilder) -> list[ConvStage]:
    """The stages of a file that is one Sequential of blocks."""
    found = draft.matching(r"(\d{1,6})(?:\.([01]))?")
    blocks: dict[int, ConvStage] = {}
    for (block, place), m in found:
        if place == "1":
            if int(block) not in blocks:
                raise DoesNotFitError(f"{m.key} follows nothing")
            blocks[int(block)] = ConvStage(blocks[int(block)].conv, m)
        else:
            blocks[int(block)] = ConvStage(m)
    if not any(place for (_, place), _ in found) or len(found) != len(draft.state.modules):
        raise DoesNotFitError("not one Sequential of blocks", ("net.0.0.weight",))
    if list(blocks) != list(range(len(blocks))):
        raise DoesNotFitError("a block is missing, or one without weights stands between")
    if bare := next((m for (block, place), m in found if place is None and int(block) < len(blocks) - 1), None):
        raise DoesNotFitError(f"no activation is between {bare.key} and the block after it")
    return [blocks[i] for i in sorted(blocks)]


def _build(draft: SpecBuilder) -> None:
    stages = nested(draft)
    draft.seed(stages[0].conv)
    add_conv_stack(draft, stages)


FAMILY = Family("blocks", "aladdinpersson's DCGAN, and others made of blocks", _build)
