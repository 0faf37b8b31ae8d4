"""A generic reading that relies on the order of the keys: any chain of Linears, convolutions and BatchNorms.

Linears come first, if any; then transposed convolutions, and Conv2ds that keep the size.  The numbers in the keys of a
Sequential show the places of activations, interpolations and dropouts.  Without such numbers, an activation is assumed
after each layer.
"""

from __future__ import annotations

import math

from gan_export.graph.layers import Concat
from gan_export.recognize import complete
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conv_stack import (
    ENLARGED,
    SMALLEST,
    Geometry,
    Sized,
    candidate_geometries,
    rare_geometries,
    require_known_strides,
)
from gan_export.recognize.draft import Family
from gan_export.recognize.families import chain
from gan_export.recognize.key_order import (
    Step,
    as_stages,
    numbered_gaps,
    possible_sum,
    skip_around,
    steps_in_order,
    ways_to_enlarge,
)
from gan_export.recognize.options import Assumption
from gan_export.recognize.state_dict import DoesNotFitError

_CIFAR_START = 8
_CIFAR: tuple[Geometry, ...] = ((2, 1, 0), (2, 1, 1), (1, 2, 0))  # pythae's decoder for CIFAR: 8, 16, 33, 32
_FEWEST_FEATURES = 196  # least size of an image as one row: 14 x 14


def _build(draft: SpecBuilder) -> None:
    steps = steps_in_order(draft)
    linears = [s for s in steps if s.kind == "linear"]
    if any(s.kind == "linear" for s in steps[len(linears) :]):
        raise DoesNotFitError(f"{linears[-1].module.key} is a Linear after a convolution")
    convs = [s for s in steps if s.kind != "linear"]
    rising = all(s.kind == "convt" for s in convs)
    normal = all(s.norm is not None for s in convs[:-1])
    # The statistics behind each transposed convolution show what stands before the next one.
    shown = numbered_gaps(draft) or (rising and (steps[1].beside or (normal and not _is_chain(draft))))
    if linears != steps and not shown:
        raise DoesNotFitError("no numbers of a Sequential show the layers without weights")
    if (norm := steps[-1].norm) is not None and not (steps[-1].norm_first and steps[-1].kind != "linear"):
        raise DoesNotFitError(f"{norm.key} is a BatchNorm after the last layer")
    _say_what_is_assumed(draft, steps)
    if linears == steps:
        _of_linears(draft, steps)
        return
    first, begin = steps[0], 0
    if linears:
        taken = _inputs(draft, steps)
        for i, step in enumerate(linears[len(taken) :], len(taken)):
            last = i == len(linears) - 1
            _linear(draft, i, step, taken, alone=len(linears) == 1, last=last, after=steps[i + 1])
    else:
        if first.kind == "conv":
            raise DoesNotFitError(f"{first.module.key} is a convolution that takes an image")
        if not steps[1].beside:
            draft.seed(first.module)
    if steps[1].beside and first.kind == "convt":
        _inputs(draft, steps)
        begin = 2
    chosen, geometries = _geometry(draft, steps[begin:])
    convs = [s for s in chosen if s.kind != "linear"]
    for i, (step, geometry) in enumerate(zip(convs, geometries, strict=True)):
        if i and step.active:
            draft.activation(i - 1)
        elif not i and linears:
            _between(draft, step)
        if step.up:
            draft.upsample(f"up{i}")
        if step.kind == "conv":
            draft.conv(f"conv{i}", step.module)
        else:
            draft.conv_transpose(f"convt{i}", step.module, *geometry)
        if step.norm is not None:
            if not step.norm_first:
                draft.activation(i)
            draft.batch_norm(f"bn{i}", step.norm)
    draft.output()


def _is_chain(draft: SpecBuilder) -> bool:
    """Return whether the channels alone give the order, so that the family `chain` reads the file."""
    other = SpecBuilder(chain.FAMILY, draft.state, draft.overrides)
    try:
        chain.FAMILY.build(other)
        complete.reading(other)
    except DoesNotFitError:
        return False
    return True


def _say_what_is_assumed(draft: SpecBuilder, steps: list[Step]) -> None:
    draft.notes.append("its layers are taken in the order of the file's keys")
    if dropped := [s.module.key for s in steps if s.dropped]:
        what = f"the layer without weights before {dropped[0]}" + (" and others" if dropped[1:] else "")
        draft.assumed.append(Assumption(what, "Dropout, which does nothing in evaluation", ""))
    if around := possible_sum(draft, steps):
        draft.assumed.append(skip_around(around))


def _of_linears(draft: SpecBuilder, steps: list[Step]) -> None:
    """Append the layers of a generator that has only Linears, the last of which is as wide as an image."""
    features, nz = steps[-1].width, steps[0].takes
    channels = next((c for c in (1, 3) if features % c == 0 and math.isqrt(features // c) ** 2 == features // c), 0)
    if not channels or features < _FEWEST_FEATURES or features <= nz:
        raise DoesNotFitError(f"its {features} output features for a latent of {nz} are not an image")
    taken = _inputs(draft, steps)
    for i, step in enumerate(steps[len(taken) :], len(taken)):
        _linear(draft, i, step, taken, alone=False, last=i == len(steps) - 1, after=None)
    draft.output()
    draft.picture(channels)


def _inputs(draft: SpecBuilder, steps: list[Step]) -> list[str]:
    """Begin with z, and with the label if the second layer takes one; return what the layers placed so far take.

    Only if a label takes part, layers are placed: that of z, that of the label, and their outputs' join.  Of the two,
    the label is the input with fewer features.
    """
    first, second = steps[:2]
    if not second.beside:
        draft.latent(first.takes)
        return []
    label = min(first, second, key=lambda s: s.takes)
    names = {True: draft.label_beside(max(first.takes, second.takes), label.takes), False: "z"}
    made: dict[bool, str] = {}
    for number, step in enumerate((first, second)):
        _branch(draft, number, step, names[step is label])
        made[step is label] = draft.last
    what = "the label's features stand before or after z's"
    default = draft.family.label_order if label is second else "before"
    order = draft.choice("label_order", default, what)
    draft.assumed.append(Assumption(f"what {label.module.key} takes", "a label as one-hot", ""))
    draft.add(Concat, "joined", inputs=(made[False], made[True]) if order == "after" else (made[True], made[False]))
    return [names[step is label] for step in (first, second)]


def _branch(draft: SpecBuilder, number: int, step: Step, source: str) -> None:
    """Append the layer of one input, its BatchNorm and its activation."""
    draft.chain.last = source
    if step.kind == "linear":
        draft.linear(f"fc{number}", step.module)
    else:
        draft.reshape(f"seed{number}", (step.takes, 1, 1))
        draft.conv_transpose(f"convt_in{number}", step.module, 1, 0)
    if step.norm is not None and not step.norm_first:
        draft.activation(number, "in_")
    if step.norm is not None:
        draft.batch_norm(f"in_bn{number}", step.norm)
    if step.norm is None or step.norm_first:
        draft.activation(number, "in_")


def _linear(
    draft: SpecBuilder, i: int, step: Step, taken: list[str], *, alone: bool, last: bool, after: Step | None
) -> None:
    """Append a Linear, the activation before it, its BatchNorm, and the reshape to an image if a convolution follows.

    taken: the names of the values that the Linears before it take; this one's is appended
    alone: whether it is the only Linear; last: whether it is the last one
    """
    number = "" if alone else str(i)
    if i and step.active:
        draft.activation(i - 1, "fc_")
    if step.joined is not None:
        order = draft.choice("label_order", "after", "whether joined features stand before or after the layer's own")
        pair = (draft.last, taken[step.joined])
        draft.add(Concat, f"join{i}", inputs=pair if order == "after" else pair[::-1])
    taken.append(draft.last)
    draft.linear(f"fc{number}", step.module)
    norm = step.norm
    flat = norm is not None and norm.channels == step.width
    if norm is not None and flat:
        if not step.norm_first:
            draft.activation(number, "fc_")
        draft.batch_norm(f"fc_bn{number}", norm)
    if last and after is not None:
        draft.picture(after.takes)
        if norm is not None and not flat:
            draft.batch_norm(f"fc_bn{number}", norm)


def _between(draft: SpecBuilder, step: Step) -> None:
    """Append the activation between the last Linear and the first convolution, if any."""
    if step.active is None:
        draft.first_activation()
    elif step.active:
        draft.activation("", "fc_")


def _geometry(draft: SpecBuilder, steps: list[Step]) -> tuple[tuple[Step, ...], tuple[Geometry, ...]]:
    """Return the steps with the places that enlarge the image, and each convolution's stride and padding.

    They are the most usual ones that the kernels and the keys allow.
    """
    start = draft.shape[1]
    ways: list[tuple[int, tuple[tuple[Step, ...], tuple[Geometry, ...]]]] = []
    rare: list[tuple[int, tuple[tuple[Step, ...], tuple[Geometry, ...]]]] = []
    for way in ways_to_enlarge(steps):
        stages = as_stages(way)
        if draft.overrides.image_size is None:
            require_known_strides(start, stages)
        sized: list[Sized] = candidate_geometries(start, stages)
        if start == _CIFAR_START and [(s.kind, s.conv.kernel) for s in stages] == [("convt", 4)] * len(_CIFAR):
            sized.append((32, _CIFAR))
        ways += [(size, (way, geometry)) for size, geometry in sized if size >= max(2 * start, SMALLEST)]
        rare += [(size, (way, geometry)) for size, geometry in rare_geometries(start, stages) if size > start]
    if not ways:
        raise DoesNotFitError("nothing in its keys enlarges the image")
    picked: tuple[tuple[Step, ...], tuple[Geometry, ...]] = draft.sizes(ways, ENLARGED, rare)
    return picked


FAMILY = Family("sequence", "any layers, in the order of the file's keys", _build, generic=True)
