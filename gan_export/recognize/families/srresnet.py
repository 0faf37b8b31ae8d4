"""Recognize SRGAN's SRResNet in the layouts of two repositories.

leftthomas/SRGAN: `block1`, `block{2..}.{conv1,bn1,prelu,conv2,bn2}`, `block7`, `block8.{0..}`, (tanh + 1) / 2.
Lornatang/SRGAN-PyTorch: `conv1`, `trunk.{i}.rcb.{0..4}`, `conv2`, `upsampling.{i}.upsample_block`, `conv3`, clamped.
"""

from __future__ import annotations

from dataclasses import dataclass

from gan_export.graph.layers import Activation, Clamp, PixelShuffle, Scale
from gan_export.graph.ports import Size
from gan_export.graph.words import NormReading
from gan_export.recognize import image_layers
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError

UNIT = (0.0, 1.0)
_DEFAULT: NormReading = "stored"  # both scripts call eval()


@dataclass(frozen=True, slots=True)
class _Paths:
    """Paths of the parts in a file.  blocks: conv, norm, PReLU, conv, norm of each; steps: conv, PReLU of each."""

    first: tuple[str, str]
    blocks: tuple[tuple[str, str, str, str, str], ...]
    after: tuple[str, str]
    steps: tuple[tuple[str, str], ...]
    last: str
    clamped: bool


def _build(draft: SpecBuilder) -> None:
    paths = _lornatang(draft) if draft.maybe("conv1.0") else _leftthomas(draft)
    first = draft.module(paths.first[0])
    image_layers.start(draft, first.conv[0], Size(2), UNIT)
    draft.conv("conv_in", first)
    start = image_layers.prelu(draft, "prelu_in", draft.module(paths.first[1]))
    for i, (conv_a, norm_a, prelu, conv_b, norm_b) in enumerate(paths.blocks):
        before = draft.last
        draft.conv(f"conv{i}a", draft.module(conv_a))
        image_layers.norm(draft, f"norm{i}a", norm_a, _DEFAULT)
        image_layers.prelu(draft, f"prelu{i}", draft.module(prelu))
        draft.conv(f"conv{i}b", draft.module(conv_b))
        image_layers.norm(draft, f"norm{i}b", norm_b, _DEFAULT)
        draft.plus(f"sum{i}", before, draft.last)
    draft.conv("conv_after", draft.module(paths.after[0]))
    image_layers.norm(draft, "norm_after", paths.after[1], _DEFAULT)
    draft.plus("sum", start, draft.last)
    for i, (conv, prelu) in enumerate(paths.steps):
        draft.conv(f"conv_up{i}", draft.module(conv))
        draft.add(PixelShuffle, f"shuffled{i}", factor=2)
        image_layers.prelu(draft, f"prelu_up{i}", draft.module(prelu))
    draft.conv("conv_out", draft.module(paths.last))
    if paths.clamped:
        draft.add(Clamp, "clamped", low=0.0, high=1.0)
    else:
        draft.add(Activation, "tanh", kind="tanh")
        draft.add(Scale, "unit", factor=0.5, offset=0.5)
    image_layers.finish(draft, UNIT, 2 ** len(paths.steps))


def _leftthomas(draft: SpecBuilder) -> _Paths:
    numbers = [i for i, _ in draft.numbered("block#.conv1", first=(2,))]
    after, end = f"block{numbers[-1] + 1}", f"block{numbers[-1] + 2}"
    steps = [i for i, _ in draft.numbered(f"{end}.#.conv")]
    return _Paths(
        ("block1.0", "block1.1"),
        tuple(
            (f"block{i}.conv1", f"block{i}.bn1", f"block{i}.prelu", f"block{i}.conv2", f"block{i}.bn2") for i in numbers
        ),
        (f"{after}.0", f"{after}.1"),
        tuple((f"{end}.{i}.conv", f"{end}.{i}.prelu") for i in steps),
        f"{end}.{len(steps)}",
        clamped=False,
    )


def _lornatang(draft: SpecBuilder) -> _Paths:
    blocks = [f"trunk.{i}.rcb" for i, _ in draft.numbered("trunk.#.rcb.0")]
    steps = [f"upsampling.{i}.upsample_block" for i, _ in draft.numbered("upsampling.#.upsample_block.0")]
    if not steps:
        raise DoesNotFitError("no upsampling.0.upsample_block.0", ("upsampling.0.upsample_block.0.weight",))
    return _Paths(
        ("conv1.0", "conv1.1"),
        tuple((f"{b}.0", f"{b}.1", f"{b}.2", f"{b}.3", f"{b}.4") for b in blocks),
        ("conv2.0", "conv2.1"),
        tuple((f"{s}.0", f"{s}.2") for s in steps),
        "conv3",
        clamped=True,
    )


FAMILY = Family("srresnet", "SRGAN's SRResNet (leftthomas, Lornatang)", _build)
