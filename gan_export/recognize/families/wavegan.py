"""Recognize WaveGAN (Donahue et al. 2019) as mostafaelaraby/wavegan-pytorch has it: signals of 16,384 values or more.

`fc1`, `bn1`, `deconv_list.0.transpose_ops.0`, ...: transposed convolutions of kernel 25 and stride 4, or, at place 1
behind a padding, convolutions of kernel 25 on signals enlarged 4 times.  `bn1` is in every file, but runs only if the
other layers have norms.
"""

from __future__ import annotations

from gan_export.graph.layers import ConvNd, UpsampleNd
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError, Module

_KERNEL, _FACTOR = 25, 4
_GEOMETRY = (_FACTOR, 11, 1)  # stride, padding, output padding
_SEED = 16  # values of the projected signal


def _build(draft: SpecBuilder) -> None:
    first = draft.maybe("deconv_list.0.transpose_ops.1")
    enlarged = first is not None and first.kind == "conv"
    place = 1 if enlarged else 0
    layers = [m for _, m in draft.numbered(f"deconv_list.#.transpose_ops.{place}")]
    if any(m.dims != 1 or m.kernel != _KERNEL for m in layers):
        raise DoesNotFitError(f"its kernels are not of {_KERNEL}")
    norms = [draft.maybe(f"deconv_list.{i}.transpose_ops.{place + 1}") for i in range(len(layers))]
    fc, bn = draft.module("fc1"), draft.module("bn1")
    width = layers[0].conv[0] if enlarged else layers[0].transposed[0]
    if fc.linear[1] != _SEED * width:
        raise DoesNotFitError(f"{fc.key} gives {fc.linear[1]} features, not {_SEED} of {width} channels")
    draft.project(fc, width)
    if norms[0] is not None:
        draft.batch_norm("fc_bn", bn)
    else:
        draft.used.add(bn.key)
        draft.idle += bn.keys().values()
    draft.activation("", "fc_")
    strides = _strides(draft, layers) if enlarged else [1] * len(layers)
    for i, (module, norm, stride) in enumerate(zip(layers, norms, strides, strict=True)):
        if enlarged:
            _enlarge(draft, i, module, stride)
        else:
            draft.conv_transpose(f"convt{i}", module, *_GEOMETRY)
        if norm is not None:
            draft.batch_norm(f"bn{i}", norm)
        if i < len(layers) - 1:
            draft.activation(i)
    draft.output()


def _strides(draft: SpecBuilder, layers: list[Module]) -> list[int]:
    """Return the stride of each convolution: 1, or 2 in the last of six, which then gives 32,768 values."""
    plain = [1] * len(layers)
    whole = _SEED * _FACTOR ** len(layers)
    if len(layers) != 6:
        return plain
    picked: list[int] = draft.sizes([(whole, plain), (whole // 2, [*plain[:-1], 2])], "the last layer's stride")
    return picked


def _enlarge(draft: SpecBuilder, i: int, module: Module, stride: int) -> None:
    """Append nearest-neighbor upsampling and a convolution that keeps the size, or halves it with a stride of 2."""
    inside, out = module.conv
    draft.add(UpsampleNd, f"up{i}", factor=(_FACTOR,))
    draft.add(
        ConvNd, f"conv{i}", module, in_channels=inside, out_channels=out, kernel=(_KERNEL,), stride=(stride,),
        padding=(_KERNEL // 2,), bias=module.bias,
    )  # fmt: skip


FAMILY = Family("wavegan", "mostafaelaraby/wavegan-pytorch", _build)
