"""One flat Sequential of ConvTranspose2d, BatchNorm2d, ReLU triples on a latent of one pixel.

`model.0/1/3/4/...` with biases (the classic write-up), `main.*` without (pytorch/examples and its tutorial, Ray,
csinva), `net.*` (ignite), `main_module.*` (Zeleni9); the first kernel may be 2 (pytorch-gan-collections), the last
one 3 with stride 1 (torch-fidelity, christiancosgrove) or 1 (csinva).
"""

from __future__ import annotations

from gan_export.recognize.builder import DoesNotFitError, Draft, Family
from gan_export.recognize.conv_stack import spaced, stack, staged


def _build(draft: Draft) -> None:
    modules = draft.sequential()
    stages = staged([m for _, m in modules])
    if len(stages) < 2:
        raise DoesNotFitError("fewer than two transposed convolutions")
    spaced(stages, {m.key: i for i, m in modules})
    draft.seed(stages[0].conv)
    stack(draft, stages)


FAMILY = Family("dcgan", "the DCGAN of pytorch/examples and the many that follow it", _build)
