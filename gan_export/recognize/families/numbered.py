"""Transposed convolutions as numbered attributes, each with its BatchNorm.

`tconv1..5` and `bn1..4` (Natsu6767/DCGAN-PyTorch); `deconv1..5` and `deconv1_bn..` with biases (znxlwm's
MNIST-CelebA); any other two names of that pattern.
"""

from __future__ import annotations

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conv_stack import ConvStage, add_conv_stack
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError


def _build(draft: SpecBuilder) -> None:
    convs = {int(i): (name, m) for (name, i), m in draft.matching(r"(\w*?[A-Za-z_])(\d{1,4})") if m.kind == "conv"}
    if len(convs) < 2 or len({name for name, _ in convs.values()}) != 1:
        raise DoesNotFitError("no transposed convolutions numbered under one name", ("tconv1.weight", "tconv2.weight"))
    if sorted(convs) not in (list(range(len(convs))), list(range(1, len(convs) + 1))):
        stem = next(iter(convs.values()))[0]
        absent = next(i for i in range(1, len(convs) + 2) if i not in convs)
        raise DoesNotFitError(f"no {stem}{absent}", (f"{stem}{absent}.weight",))
    beside = {int(i): m for (i,), m in draft.matching(r"\w*?[A-Za-z_](\d{1,4})(?:_\w+)?") if m.kind == "batchnorm"}
    draft.seed(convs[min(convs)][1])
    add_conv_stack(draft, [ConvStage(m, beside.get(i)) for i, (_, m) in sorted(convs.items())])


FAMILY = Family(
    "numbered", "Natsu6767/DCGAN-PyTorch (tconv1, bn1), znxlwm's MNIST-CelebA (deconv1, deconv1_bn)", _build
)
