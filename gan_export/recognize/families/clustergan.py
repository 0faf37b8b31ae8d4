"""eriklindernoren/PyTorch-GAN's clustergan: two Linears with BatchNorm, two transposed convolutions, one Sequential.

`model.0/1/3/4` Linears and BatchNorms, `.7/8` and `.10` on 128 channels of 7 x 7; LeakyReLU 0.2, and a sigmoid at the
end.  Its latents are a code of standard deviation 0.75 and, behind it, a cluster as one-hot: `--classes`.
"""

from __future__ import annotations

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conv_stack import ConvStage, add_conv_stack
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError

_PLACES = [0, 1, 3, 4, 7, 8, 10]
_CODE = "the original draws z with a standard deviation of 0.75: scale latents= for the very same images"


def _build(draft: SpecBuilder) -> None:
    modules = draft.sequential()
    if [i for i, _ in modules] != _PLACES:
        raise DoesNotFitError("its layers with weights are not at 0, 1, 3, 4, 7, 8 and 10")
    fc0, bn0, fc1, bn1, first, norm, last = (m for _, m in modules)
    draft.latent(fc0.linear[0])
    for i, (fc, bn) in enumerate(((fc0, bn0), (fc1, bn1))):
        draft.linear(f"fc{i}", fc)
        draft.batch_norm(f"fc_bn{i}", bn)
        draft.activation(i, "fc_")
    draft.picture(first.transposed[0])
    add_conv_stack(draft, [ConvStage(first, norm), ConvStage(last)])
    draft.notes.append(_CODE)


FAMILY = Family("clustergan", "eriklindernoren/PyTorch-GAN's clustergan", _build, output="sigmoid", slope=0.2)
