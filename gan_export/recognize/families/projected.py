"""Recognize a Linear projection to a small image, then transposed convolutions in one Sequential.

`linear`, `net.0/1/3/...` (gordicaleksa/pytorch-GANs); `linear`, `main.0` a BatchNorm on the projection, `main.2/5/8`,
`main.11` a Conv2d (w86763777/pytorch-gan-collections' sngan and wgangp).
"""

from __future__ import annotations

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conv_stack import (
    ConvStage,
    add_conv_stack,
    pair_convs_with_norms,
    require_one_activation_between,
)
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError


def _build(draft: SpecBuilder) -> None:
    found = [(name, m) for (name,), m in draft.matching(r"(\w+)") if m.kind == "linear"]
    names = {name for (name, _), _ in draft.matching(r"(\w+)\.(\d{1,6})")}
    if len(found) != 1 or len(names) != 1:
        raise DoesNotFitError("not one Linear and one Sequential", ("linear.weight", "main.0.weight"))
    modules = draft.sequential(f"{names.pop()}.")
    (_, first), rest = modules[0], modules
    if first.kind == "batchnorm":
        draft.project(found[0][1], first.channels)
        draft.batch_norm("fc_bn", first)
        draft.activation("", "fc_")
        rest = modules[1:]
        if not rest or rest[0][0] != 2:
            raise DoesNotFitError(f"more or less than one activation follows {first.key}")
    else:
        draft.project(found[0][1], first.transposed[0])
        draft.first_activation()
    stages = pair_convs_with_norms([m for _, m in rest])
    require_one_activation_between(stages, {m.key: i for i, m in rest})
    if stages and stages[-1].conv.kernel % 2:  # a last odd kernel is a Conv2d
        stages[-1] = ConvStage(stages[-1].conv, stages[-1].norm, "conv")
    add_conv_stack(draft, stages)


FAMILY = Family("projected", "pytorch-gan-collections' sngan and wgangp, gordicaleksa/pytorch-GANs", _build)
