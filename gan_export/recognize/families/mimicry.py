"""kwotsin/mimicry's DCGAN, SNGAN, WGAN-GP, InfoMax-GAN and SSGAN at 32, 48, 64 and 128: bilinear residual blocks.

`l1`, `block2.{b1,c1,b2,c2,c_sc}`, ..., `b5`, `c5`.  Its `dcgan_cifar` ends in a sigmoid under the very same keys.
"""

from __future__ import annotations

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.residual import Block, residual


def _build(draft: SpecBuilder) -> None:
    numbers = [i for i, _ in draft.numbered("block#.c1", first=(2,))]
    blocks = [
        Block(f"block{i}", *(draft.module(f"block{i}.{p}") for p in ("b1", "c1", "b2", "c2", "c_sc"))) for i in numbers
    ]
    end = numbers[-1] + 1
    residual(draft, draft.module("l1"), blocks, draft.module(f"b{end}"), draft.module(f"c{end}"))


FAMILY = Family(
    "mimicry", "kwotsin/mimicry's residual generators", _build, upsample="bilinear", other_outputs=("sigmoid",)
)
