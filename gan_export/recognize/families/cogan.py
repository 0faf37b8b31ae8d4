"""eriklindernoren/PyTorch-GAN's cogan: one latent gives two images, and both share their first layers.

`fc.0` is a Linear, `shared_conv.0` a BatchNorm, `.2` a Conv2d and `.3` a BatchNorm, with an Upsample at `.1` and at
`.5`.  `G1` and `G2` have the same layers: `.0` Conv2d, `.1` BatchNorm, `.3` Conv2d.  The first BatchNorm has torch's
default eps, the others have 0.8.
"""

from __future__ import annotations

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError

_TORCH_EPS = 1e-5
_ENDS = {"G1": "image", "G2": "image_2"}


def _build(draft: SpecBuilder) -> None:
    first = draft.module("shared_conv.0")
    draft.project(draft.module("fc.0"), first.channels)
    draft.batch_norm("fc_bn", first, eps=_TORCH_EPS)
    draft.upsample("up0")
    draft.conv("conv0", draft.module("shared_conv.2"))
    draft.batch_norm("bn0", draft.module("shared_conv.3"))
    draft.activation(0)
    draft.upsample("up1")
    shared = draft.last
    images = {}
    for path, port in _ENDS.items():
        name = path.lower()
        draft.conv(f"{name}_conv0", draft.module(f"{path}.0"), inputs=(shared,))
        draft.batch_norm(f"{name}_bn", draft.module(f"{path}.1"))
        draft.activation("", f"{name}_")
        draft.conv(f"{name}_conv1", draft.module(f"{path}.3"))
        draft.output(f"{name}_")
        images[port] = draft.last
    if len({draft.shapes[value] for value in images.values()}) != 1:
        raise DoesNotFitError("G1 and G2 give images of two sizes")
    draft.images = images


FAMILY = Family("cogan", "eriklindernoren/PyTorch-GAN's cogan", _build, slope=0.2, bn_eps=0.8)
