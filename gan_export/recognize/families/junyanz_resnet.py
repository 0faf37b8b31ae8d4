"""Recognize junyanz's ResNet generator (pix2pix, CycleGAN) and CUT's: `resnet_9blocks`, `resnet_6blocks`, any number.

`model.{1,4,7}` convolutions, `model.{10..}.conv_block.{1,5}` blocks, `model.{19,22}` transposed ones, `model.26`.
With dropout the second convolution of a block is `conv_block.6`; CUT's `filt` are blurs, which shift the later numbers.
"""

from __future__ import annotations

from gan_export.graph.layers import Activation
from gan_export.graph.ports import Size
from gan_export.recognize import dropout, image_layers
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError

SIGNED = (-1.0, 1.0)


def _build(draft: SpecBuilder) -> None:
    first = draft.module("1")
    blocks = _blocks(draft)
    halvings = _halvings(draft)
    step = 2**halvings
    width = draft.module(f"{blocks[0]}.conv_block.1").conv[0]
    last = draft.state.modules.get(f"{blocks[0]}.conv_block.6")
    dropped = last is not None and last.kind == "conv"
    masks = dropout.masks(draft, [(width, step)] * len(blocks)) if dropped else ()
    image_layers.start(draft, first.conv[0], Size(4 * step, step), SIGNED, *masks)
    image_layers.pad(draft, "pad_in", 3)
    _stage(draft, "in", "1", "2", padding=0)
    at = 4
    for i in range(halvings):
        halved = image_layers.blur(draft, f"{at + 3}", 3)
        _stage(draft, f"down{i}", f"{at}", f"{at + 1}", padding=1, stride=1 if halved else 2)
        if halved:
            image_layers.blur_down(draft, f"blur{i}", halved)
        at += 4 if halved else 3
    for i, index in enumerate(blocks):
        before = draft.last
        path = f"{index}.conv_block"
        image_layers.pad(draft, f"pad{i}a", 1)
        _stage(draft, f"block{i}a", f"{path}.1", f"{path}.2", padding=0)
        if masks:
            dropout.drop(draft, f"drop{i}", masks[i])
        second = 6 if dropped else 5
        image_layers.pad(draft, f"pad{i}b", 1)
        image_layers.conv(draft, f"conv_block{i}b", draft.module(f"{path}.{second}"), padding=0)
        image_layers.norm(draft, f"norm_block{i}b", f"{path}.{second + 1}", "image")
        draft.plus(f"sum{i}", before, draft.last)
    at += len(blocks)
    for i in range(halvings):
        at = _double(draft, i, at)
    image_layers.pad(draft, "pad_out", 3)
    end = draft.module(f"{at + 1}")
    if end.kernel != 7:
        raise DoesNotFitError(f"{end.key} is {end}, not the last convolution of 7 x 7")
    image_layers.conv(draft, "conv_out", end, padding=0)
    draft.add(Activation, "tanh", kind="tanh")
    image_layers.finish(draft, SIGNED)


def _blocks(draft: SpecBuilder) -> list[int]:
    """Return the indices of the residual blocks, which are consecutive."""
    return [i for i, _ in draft.numbered("#.conv_block.1", first=tuple(range(1, 100)))]


def _halvings(draft: SpecBuilder) -> int:
    """Return how often the size is halved before the blocks."""
    first_block = _blocks(draft)[0]
    at = count = 4
    count = 0
    while at < first_block:
        draft.module(f"{at}")
        at += 4 if image_layers.blur(draft, f"{at + 3}", 3) else 3
        count += 1
    if at != first_block or not 1 <= count <= 6:
        raise DoesNotFitError(f"its blocks begin at {first_block}")
    return count


def _stage(draft: SpecBuilder, name: str, conv: str, norm: str, *, padding: int, stride: int = 1) -> None:
    image_layers.conv(draft, f"conv_{name}", draft.module(conv), stride=stride, padding=padding)
    image_layers.norm(draft, f"norm_{name}", norm, "image")
    image_layers.relu(draft, f"relu_{name}")


def _double(draft: SpecBuilder, i: int, at: int) -> int:
    """Append the layers from index `at` that double the size; return the index after them."""
    blurred = image_layers.blur(draft, f"{at}", 4)
    if blurred:
        image_layers.blur_up(draft, f"unblur{i}", blurred)
        _stage(draft, f"up{i}", f"{at + 1}", f"{at + 2}", padding=1)
        return at + 4
    draft.conv_transpose(f"conv_up{i}", draft.module(f"{at}"), 2, 1, 1)
    image_layers.norm(draft, f"norm_up{i}", f"{at + 1}", "image")
    image_layers.relu(draft, f"relu_up{i}")
    return at + 3


FAMILY = Family("junyanz_resnet", "junyanz's pix2pix and CycleGAN ResNet generator, and CUT's", _build)
