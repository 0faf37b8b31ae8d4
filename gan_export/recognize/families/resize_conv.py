"""Linear, then BatchNorm, interpolation and 3x3 convolutions: eriklindernoren/PyTorch-GAN's dcgan, acgan and others.

`l1.0`, `conv_blocks.0` BatchNorm, `.2` Conv2d, `.3` BatchNorm, `.6`, `.7`, `.9`.  Its hidden BatchNorms got 0.8 as
eps where momentum was meant; the first one has torch's own.  lsgan and ebgan have no first one, and `.0` enlarges.
"""

from __future__ import annotations

import re

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError, Module

_TORCH_EPS = 1e-5


def _build(draft: SpecBuilder) -> None:
    name = next((n for n in ("conv_blocks.", "conv_model.") if draft.maybe(f"{n}0")), "conv_blocks.")
    rest = [(int(i), m) for (i,), m in draft.matching(re.escape(name) + r"(\d{1,6})")]
    if not rest:
        raise DoesNotFitError(f"no {name}0", (f"{name}0.running_mean",))
    at, first = rest[0]
    free = 0  # the next index that nothing has taken yet
    if at == 0 and first.kind == "batchnorm":
        draft.project(draft.module("l1.0"), first.channels)
        draft.batch_norm("fc_bn", first, eps=_TORCH_EPS)
        rest, free = rest[1:], 1
    elif at == 1 and first.kind == "conv":
        draft.project(draft.module("l1.0"), first.conv[0])
    else:
        raise DoesNotFitError(f"{first.key} is neither a first BatchNorm nor a Conv2d behind an Upsample")
    for i, (conv, norm) in enumerate(_pairs(rest)):
        at = conv[0]
        if at == free + 1:
            draft.upsample(f"up{i}")
        elif at != free:
            raise DoesNotFitError(f"not just an Upsample stands before {conv[1].key}")
        draft.conv(f"conv{i}", conv[1])
        if norm is not None:
            if norm[0] != at + 1:
                raise DoesNotFitError(f"something stands before {norm[1].key}")
            draft.batch_norm(f"bn{i}", norm[1])
        if conv[1] is not rest[-1][1]:
            draft.activation(i)
        free = at + 2 + (norm is not None)
    draft.output()


Placed = tuple[int, Module]  # with its index


def _pairs(modules: list[Placed]) -> list[tuple[Placed, Placed | None]]:
    pairs: list[tuple[Placed, Placed | None]] = []
    for at, m in modules:
        if m.kind == "conv":
            pairs.append(((at, m), None))
        elif pairs and pairs[-1][1] is None:
            pairs[-1] = (pairs[-1][0], (at, m))
        else:
            raise DoesNotFitError(f"{m.key} follows no convolution")
    return pairs


FAMILY = Family("resize_conv", "eriklindernoren/PyTorch-GAN's dcgan and acgan", _build, slope=0.2, bn_eps=0.8)
