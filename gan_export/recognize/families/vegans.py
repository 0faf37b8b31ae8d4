"""vegans' generators: `load_mnist_generator` and `load_example_generator`; LeakyReLU 0.2, and a sigmoid at the end.

mnist: `prepare.0` is a Linear to one channel of 16 x 16, `encoding.{0,3,6}` are Conv2ds that halve it twice, and
`decoding.{0,3,6,9}` are transposed convolutions, the last with a kernel of 3.  example: `hidden_part.{1,3,6,9,12}` are
Linears, with BatchNorms after the activations.
"""

from __future__ import annotations

from gan_export.graph.layers import Conv
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conv_stack import Geometry
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError, Module

_HALVING = (2, 2, 1)  # strides of `encoding`
_DOUBLE: Geometry = (2, 1, 0)
_KEEP: Geometry = (1, 1, 0)


def _build(draft: SpecBuilder) -> None:
    if draft.maybe("prepare.0"):
        _mnist(draft)
    else:
        _example(draft)


def _mnist(draft: SpecBuilder) -> None:
    encoding = [draft.module(f"encoding.{i}") for i in (0, 3, 6)]
    decoding = [draft.module(f"decoding.{i}") for i in (0, 3, 6, 9)]
    if [m.kernel for m in (*encoding, *decoding)] != [5, 5, 3, 4, 4, 4, 3]:
        raise DoesNotFitError("its kernels are not 5, 5, 3 and 4, 4, 4, 3")
    draft.project(draft.module("prepare.0"), encoding[0].conv[0])
    for i, (module, stride) in enumerate(zip(encoding, _HALVING, strict=True)):
        _halve(draft, f"down{i}", module, stride)
        draft.batch_norm(f"down_bn{i}", draft.module(f"encoding.{3 * i + 1}"))
        draft.activation(i, "down_")
    for i, module in enumerate(decoding):
        last = i == len(decoding) - 1
        draft.conv_transpose(f"convt{i}", module, *(_KEEP if last else _DOUBLE))
        if not last:
            draft.batch_norm(f"bn{i}", draft.module(f"decoding.{3 * i + 1}"))
            draft.activation(i)
    draft.output()


def _halve(draft: SpecBuilder, name: str, module: Module, stride: int) -> None:
    inside, out = module.conv
    draft.add(
        Conv, name, module, in_channels=inside, out_channels=out, kernel=module.kernel, stride=stride,
        padding=module.kernel // 2, bias=module.bias,
    )  # fmt: skip


def _example(draft: SpecBuilder) -> None:
    first = draft.module("1")
    draft.latent(first.linear[0])
    draft.linear("fc0", first)
    draft.activation(0)
    for i, at in enumerate((3, 6, 9), 1):
        draft.linear(f"fc{i}", draft.module(f"{at}"))
        draft.activation(i)
        draft.batch_norm(f"bn{i}", draft.module(f"{at + 2}"))
    draft.linear("fc4", draft.module("12"))
    draft.output()
    features = draft.shape[0]
    draft.picture(1 if round(features**0.5) ** 2 == features else 3)


FAMILY = Family("vegans", "vegans' generators", _build, output="sigmoid", slope=0.2)
