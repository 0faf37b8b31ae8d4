"""torchgan's AutoEncodingGenerator, BEGAN's decoder: 8 x 8, doubled by transposed convolutions of kernel 3; ELU.

`fc.0` is a Linear and `model.0.{0,3}` are Conv2ds.  In later blocks, `model.{1..}.0` is a transposed convolution and
`.3` a Conv2d; `model.{last}.0` is a Conv2d with a bias.  With BatchNorms, a block has its layers at 0, 1, 3 and 4.
Without BatchNorms, it has them at 0 and 2, and they have biases.
"""

from __future__ import annotations

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError, Module

_SIDE = 8


def _build(draft: SpecBuilder) -> None:
    head = draft.module("fc.0")
    blocks = [i for i, _ in draft.numbered("model.#.0")]
    if len(blocks) < 2:
        raise DoesNotFitError("no model.1.0", ("model.1.0.weight",))
    normed = draft.maybe("model.0.1") is not None
    places = (0, 3) if normed else (0, 2)
    width = draft.module("model.0.0").conv[0]
    if head.linear[1] != _SIDE * _SIDE * width:
        raise DoesNotFitError(f"{head.key} is {head}, not a Linear to {width} channels of {_SIDE} x {_SIDE}")
    draft.latent(head.linear[0])
    draft.linear("fc", head)
    if normed:
        draft.batch_norm("fc_bn", draft.module("fc.1"))
    draft.activation("", "fc_")
    draft.picture(width)
    for b in blocks[:-1]:
        for place in places:
            name, module = f"{b}_{place}", draft.module(f"model.{b}.{place}")
            _layer(draft, name, module, doubles=b > 0 and place == 0)
            if normed:
                draft.batch_norm(f"bn{name}", draft.module(f"model.{b}.{place + 1}"))
            draft.activation(name)
    draft.conv("conv_out", draft.module(f"model.{blocks[-1]}.0"))
    draft.output()


def _layer(draft: SpecBuilder, name: str, module: Module, *, doubles: bool) -> None:
    if module.kernel != 3:
        raise DoesNotFitError(f"{module.key} is {module}, not a convolution of 3x3")
    if doubles:
        draft.conv_transpose(f"convt{name}", module, 2, 1, 1)
    else:
        draft.conv(f"conv{name}", module)


FAMILY = Family("torchgan_began", "torchgan's BEGAN generator", _build, slope="elu")
