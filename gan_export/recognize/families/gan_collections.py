"""w86763777/pytorch-gan-collections' residual sngan and wgangp: nearest-neighbour residual blocks.

`linear`, `blocks.0.residual.{0,3,4,6}`, `blocks.0.shortcut.1`, ..., `output.0`, `output.2`.
"""

from __future__ import annotations

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.residual import Block, residual

_PLACES = ("residual.0", "residual.3", "residual.4", "residual.6", "shortcut.1")


def _build(draft: SpecBuilder) -> None:
    numbers = [i for i, _ in draft.numbered("blocks.#.residual.0")]
    blocks = [Block(f"block{i}", *(draft.module(f"blocks.{i}.{p}") for p in _PLACES)) for i in numbers]
    residual(draft, draft.module("linear"), blocks, draft.module("output.0"), draft.module("output.2"))


FAMILY = Family("gan_collections", "pytorch-gan-collections' residual sngan and wgangp", _build)
