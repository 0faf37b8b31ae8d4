"""Build stacks of transposed convolutions, which most DCGAN generators have under various keys."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.state_dict import DoesNotFitError, Module

Geometry = tuple[int, int, int]  # stride, padding, output padding


@dataclass(frozen=True, slots=True)
class ConvStage:
    """A convolution and the BatchNorm after it, if any.  An activation follows all but the last of a stack.

    kind: `convt` is a transposed convolution; `conv` one of odd kernel that keeps the size.
    up:   whether the image is enlarged before it
    """

    conv: Module
    norm: Module | None = None
    kind: Literal["convt", "conv"] = "convt"
    up: bool = False


Sized = tuple[int, tuple[Geometry, ...]]  # image size, and the geometry of each stage

# Geometries of a kernel after the first layer, the usual one first.  Even kernels have one geometry that exactly
# doubles the size; the stride of an odd one is only in the model's code, and so is its output padding, which hardly any
# statistics show: MNIST's 7 comes from 4 without it.
_USUAL: dict[int, tuple[Geometry, ...]] = {
    1: ((1, 0, 0),),
    2: ((2, 0, 0),),
    3: ((2, 1, 1), (1, 1, 0), (2, 1, 0)),
    4: ((2, 1, 0),),
    5: ((2, 2, 1), (1, 2, 0), (2, 2, 0)),
    6: ((2, 2, 0),),
    7: ((2, 3, 1), (1, 3, 0), (2, 3, 0)),
    8: ((2, 3, 0), (4, 2, 0)),
}
# Of signals only; 25 is WaveGAN's.
_USUAL_OF_SIGNALS: dict[int, tuple[Geometry, ...]] = {
    **_USUAL,
    16: ((4, 6, 0), (8, 4, 0), (2, 7, 0)),
    24: ((4, 10, 0), (2, 11, 0)),
    25: ((4, 11, 1), (2, 12, 1)),
}
# Of images only: geometries that scripts seldom have, and that the stored statistics can show.
_RARE: dict[int, tuple[Geometry, ...]] = {
    2: ((1, 0, 0),),
    3: ((2, 0, 0), (1, 0, 0), (3, 0, 0)),
    4: ((1, 0, 0), (4, 0, 0), (2, 0, 0), (1, 1, 0)),
    5: ((2, 1, 0), (2, 0, 0), (1, 0, 0), (3, 1, 0)),
    6: ((2, 0, 0), (1, 0, 0)),
    7: ((1, 0, 0), (2, 0, 0), (7, 0, 0)),
}
_MOST_READINGS = 64
_MOST_RARE = 12  # sizes
_LARGEST_RARE = 512  # side of an image
SMALLEST = 8  # least side of an image that a generic reading may give
GEOMETRY = "the strides and paddings, which no key shows"
ENLARGED = f"where images are enlarged, and {GEOMETRY}"


def add_conv_stack(draft: SpecBuilder, stages: Sequence[ConvStage], preferred: Sequence[Sized] = ()) -> None:
    """Append `stages` to a draft whose last value is an image, and the output activation.

    On an image of one pixel, the output has the size of the kernel (stride 1, no padding).  `preferred` are geometries
    of the family, which come before the usual ones.
    """
    if not stages:
        raise DoesNotFitError("no convolutions")
    if stages[-1].norm is not None:
        raise DoesNotFitError(f"{stages[-1].norm.key} is a BatchNorm after the last convolution")
    if draft.overrides.image_size is None and not preferred:
        require_known_strides(draft.shape[1], stages)
    options = [*preferred, *candidate_geometries(draft.shape[1], stages)]
    rare = rare_geometries(draft.shape[1], stages)
    geometries = draft.sizes(options, GEOMETRY, rare) if _has_choice(draft.shape[1], stages) else options[0][1]
    for i, (stage, geometry) in enumerate(zip(stages, geometries, strict=True)):
        if stage.kind == "conv":
            draft.conv(f"conv{i}", stage.conv)
        else:
            draft.conv_transpose(f"convt{i}", stage.conv, *geometry)
        if stage.norm is not None:
            draft.batch_norm(f"bn{i}", stage.norm)
        if i < len(stages) - 1:
            draft.activation(i)
    draft.output()


def candidate_geometries(size: int, stages: Sequence[ConvStage]) -> list[Sized]:
    """Return the strides and paddings that the kernels allow on images of `size`, the most usual first."""
    uses, pixel = [], size == 1
    for i, s in enumerate(stages):
        alike = {other.conv.kernel for other in stages if other.kind == "convt"} == {5}  # all have the paper's kernel
        uses.append(_uses(s, pixel, last=i == len(stages) - 1, doubles=alike))
        pixel = pixel and s.conv.kernel == 1
    # All kernels of one size have one geometry, except on one pixel and in the last layer; this keeps the readings few.
    kinds = list(dict.fromkeys(zip((s.conv.kernel for s in stages[:-1]), uses[:-1], strict=True)))
    found: list[Sized] = []
    for *ways, last in itertools.islice(itertools.product(*(u for _, u in kinds), uses[-1]), _MOST_READINGS):
        table = dict(zip(kinds, ways, strict=True))
        picks = [table[s.conv.kernel, u] for s, u in zip(stages[:-1], uses[:-1], strict=True)]
        geometry = (*picks, last)
        found.append((_size(size, stages, geometry), geometry))
    if size == 1 and {s.conv.kernel for s in stages[:-1]} == {5} and all(s.kind == "convt" for s in stages):
        unpadded = ((1, 0, 0), *((2, 0, 0) for _ in stages[1:]))  # clvrai/ACGAN-PyTorch: 5, 13, 29, 61, 128
        found.append((_size(size, stages, unpadded), unpadded))
    return [r for r in found if r[0] > 0] or found[:1]


def rare_geometries(size: int, stages: Sequence[ConvStage]) -> list[Sized]:
    """Return other strides and paddings, one for each size of the image, which scripts seldom have.

    They are those of all kernels of one size, or of one layer before the last one.  The last layer has a usual geometry
    or that of the others of its size, since no statistics show it.
    """
    usual = candidate_geometries(size, stages)[0][1]
    free = [i for i, s in enumerate(stages[:-1]) if s.kind == "convt" and usual[i] != (1, 0, 0)]
    if any(s.conv.dims != 2 for s in stages):
        return []
    ways: list[list[Geometry]] = []
    for kernel in dict.fromkeys(stages[i].conv.kernel for i in free):
        for rare in (*_USUAL.get(kernel, ())[1:], *_RARE.get(kernel, ())):
            alike = [rare if i in free and s.conv.kernel == kernel else usual[i] for i, s in enumerate(stages)]
            ways.append(alike)
            if stages[-1].kind == "convt" and stages[-1].conv.kernel == kernel:
                ways.append([*alike[:-1], rare])
            ways += [[*usual[:i], rare, *usual[i + 1 :]] for i in free if stages[i].conv.kernel == kernel]
    found: dict[int, Sized] = {}
    for way in ways:
        side = _size(size, stages, way)
        if SMALLEST <= side <= _LARGEST_RARE:
            found.setdefault(side, (side, tuple(way)))
    return list(found.values())[:_MOST_RARE]


def pair_convs_with_norms(modules: Sequence[Module]) -> list[ConvStage]:
    """Return modules in order as stages: each transposed convolution with the BatchNorm that follows it."""
    stages: list[ConvStage] = []
    for m in modules:
        if m.kind == "conv":
            stages.append(ConvStage(m))
        elif m.kind == "batchnorm" and stages and stages[-1].norm is None:
            stages[-1] = ConvStage(stages[-1].conv, m)
        else:
            raise DoesNotFitError(f"{m.key} is not a transposed convolution, nor a single BatchNorm after one")
    return stages


def require_one_activation_between(stages: Sequence[ConvStage], at: dict[str, int]) -> None:
    """Check that exactly an activation, and the BatchNorm if there is one, are between two convolutions.

    at: key of a module -> its index in the Sequential.  Raises DoesNotFitError if more or fewer layers are there.
    """
    for here, after in itertools.pairwise(stages):
        norm = 0 if here.norm is None else 1
        if here.norm is not None and at[here.norm.key] != at[here.conv.key] + 1:
            raise DoesNotFitError(f"another layer is before {here.norm.key}")
        if at[after.conv.key] - at[here.conv.key] != 2 + norm:
            raise DoesNotFitError(f"more or less than one activation is between {here.conv.key} and {after.conv.key}")


def _uses(stage: ConvStage, pixel: bool, last: bool, doubles: bool) -> tuple[Geometry, ...]:
    k = stage.conv.kernel
    if stage.kind == "conv":
        return ((1, k // 2, 0),)
    if pixel:
        return ((1, 0, 0),)
    usual = _USUAL_OF_SIGNALS if stage.conv.dims == 1 else _USUAL
    if k not in usual:
        raise DoesNotFitError(f"{stage.conv.key} has a kernel of {k}, whose stride is unknown")
    if last and k == 1:  # padding 2 cuts 32 to MNIST's 28
        cut, keep = (1, 2, 0), (1, 0, 0)
        return (cut, keep) if stage.conv.transposed[1] == 1 else (keep, cut)
    if last and k == 5 and not doubles:  # chenyuntc/pytorch-book goes from 32 to 96
        return (usual[k][1], usual[k][0], usual[k][2], (3, 1, 0))
    if last and k in (3, 7) and not doubles:  # most often it smooths the image
        return (usual[k][1], usual[k][0], usual[k][2])
    return usual[k]


def require_known_strides(size: int, stages: Sequence[ConvStage]) -> None:
    """Raise DoesNotFitError if kernels of 5 are among others between the first and the last layer.

    If all of these kernels are 5, they double the size, as in the paper.  Among others, scripts give them any stride.
    """
    hidden = [s.conv for s in stages[1 if size == 1 else 0 : -1] if s.kind == "convt"]
    odd = next((m for m in hidden if m.kernel == 5), None)
    if odd is not None and (other := next((m for m in hidden if m.kernel != 5), None)) is not None:
        raise DoesNotFitError(
            f"{odd.key} is a ConvTranspose2d of 5x5 among others, such as {other.key} of "
            f"{other.kernel}x{other.kernel}, and its stride isn't in the file; image_size= takes the usual ones"
        )


def _has_choice(size: int, stages: Sequence[ConvStage]) -> bool:
    """Return whether a kernel after the first pixel has several possible geometries."""
    pixel = size == 1
    for s in stages:
        if s.kind == "convt" and not pixel:
            return True
        pixel = pixel and s.conv.kernel == 1
    return False


def _size(size: int, stages: Sequence[ConvStage], geometry: Sequence[Geometry]) -> int:
    for s, (stride, padding, output_padding) in zip(stages, geometry, strict=True):
        size = 2 * size if s.up else size
        size = (size - 1) * stride + s.conv.kernel - 2 * padding + output_padding
    return size
