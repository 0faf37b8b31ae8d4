"""One flat Sequential of ConvTranspose2d, BatchNorm2d, ReLU triples on a latent of one pixel.

`model.0/1/3/4/...` with biases (the classic write-up), `main.*` without (pytorch/examples and its tutorial, Ray,
csinva), `net.*` (ignite), `main_module.*` (Zeleni9); the first kernel may be 2 (pytorch-gan-collections), the last
one 3 with stride 1 (torch-fidelity, christiancosgrove) or 1 (csinva).
"""

from __future__ import annotations

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conv_stack import add_conv_stack, pair_convs_with_norms, require_one_activation_between
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError


def _build(draft: SpecBuilder) -> None:
    modules = draft.sequential()
    stages = pair_convs_with_norms([m for _, m in modules])
    if len(stages) < 2:
        raise DoesNotFitError("fewer than two transposed convolutions")
    require_one_activation_between(stages, {m.key: i for i, m in modules})
    draft.seed(stages[0].conv)
    add_conv_stack(draft, stages)


FAMILY = Family("dcgan", "the DCGAN of pytorch/examples and the many that follow it", _build)
