"""Recognize two Linears with BatchNorm, then two or more transposed convolutions: `fc.0/1/3/4`, `deconv.0/1/3`.

znxlwm/pytorch-generative-model-collections, in every GAN there (after InfoGAN's network).  Its z is uniform on (0, 1).
"""

from __future__ import annotations

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conv_stack import add_conv_stack, pair_convs_with_norms, require_one_activation_between
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError


def _build(draft: SpecBuilder) -> None:
    head, tail = draft.sequential("fc."), draft.sequential("deconv.")
    if [i for i, _ in head] != [0, 1, 3, 4]:
        raise DoesNotFitError("fc is not Linear, BatchNorm, activation twice", ("fc.0.weight", "fc.3.weight"))
    stages = pair_convs_with_norms([m for _, m in tail])
    require_one_activation_between(stages, {m.key: i for i, m in tail})
    (_, fc0), (_, bn0), (_, fc1), (_, bn1) = head
    draft.latent(fc0.linear[0])
    for i, (fc, bn) in enumerate(((fc0, bn0), (fc1, bn1))):
        draft.linear(f"fc{i}", fc)
        draft.batch_norm(f"fc_bn{i}", bn)
        draft.activation(i, "fc_")
    draft.picture(stages[0].conv.transposed[0])
    draft.notes.append("the original has z uniform on (0, 1): scale and shift latents= for the same images")
    add_conv_stack(draft, stages)


FAMILY = Family(
    "znxlwm", "znxlwm/pytorch-generative-model-collections", _build, prior="uniform", other_outputs=("sigmoid",)
)
