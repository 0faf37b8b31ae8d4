"""RRDBNet, the generator of ESRGAN, Real-ESRGAN and BSRGAN, under the three styles of keys that are in use.

Blocks, widths and the number of enlargements follow from the file; 4 or 16 times the output's channels at the input
are a pixel-unshuffle before it (scales 2 and 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gan_export.graph.layers import Concat, PixelUnshuffle, Scale
from gan_export.graph.ports import Size
from gan_export.recognize import image_layers
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError

UNIT = (0.0, 1.0)
_RESIDUAL = 0.2  # of what a block adds


@dataclass(frozen=True, slots=True)
class _Keys:
    """A style of keys.

    block:  pattern of a block's first convolution, # its number; inner: of convolution (dense block, number)
    trunk:  the convolution after (number of blocks)
    ends:   (enlargements, hr, last) by the number of enlargements; ups: of enlargement (number)
    """

    first: str
    block: str
    inner: Callable[[int, int, int], str]
    trunk: Callable[[int], str]
    ups: Callable[[int], str]
    ends: Callable[[int], tuple[str, str]]


_STYLES = (
    _Keys(
        "conv_first",
        "body.#.rdb1.conv1",
        lambda block, dense, i: f"body.{block}.rdb{dense}.conv{i}",
        lambda blocks: "conv_body",
        lambda i: f"conv_up{i + 1}",
        lambda ups: ("conv_hr", "conv_last"),
    ),
    _Keys(
        "conv_first",
        "RRDB_trunk.#.RDB1.conv1",
        lambda block, dense, i: f"RRDB_trunk.{block}.RDB{dense}.conv{i}",
        lambda blocks: "trunk_conv",
        lambda i: f"upconv{i + 1}",
        lambda ups: ("HRconv", "conv_last"),
    ),
    _Keys(
        "0",
        "1.sub.#.RDB1.conv1.0",
        lambda block, dense, i: f"1.sub.{block}.RDB{dense}.conv{i}.0",
        lambda blocks: f"1.sub.{blocks}",
        lambda i: f"{3 * i + 3}",
        lambda ups: (f"{3 * ups + 2}", f"{3 * ups + 4}"),
    ),
)


def _build(draft: SpecBuilder) -> None:
    keys = next((s for s in _STYLES if draft.matching(s.block.replace(".", r"\.").replace("#", r"\d+"))), None)
    if keys is None:
        raise DoesNotFitError("no body.0.rdb1.conv1", ("body.0.rdb1.conv1.weight",))
    blocks = len(draft.numbered(keys.block))
    ups = 0
    while ups < 4 and draft.maybe(keys.ups(ups)) is not None and keys.ups(ups) not in keys.ends(ups):
        ups += 1
    hr, last = keys.ends(ups)
    first = draft.module(keys.first)
    factor = _unshuffle(first.conv[0], draft.module(last).conv[1])
    if not ups or 2**ups % factor:
        raise DoesNotFitError(f"{first.conv[0]} channels at the input and {ups} enlargements")
    image_layers.start(draft, first.conv[0] // factor**2, Size(2 * factor, factor), UNIT)
    if factor > 1:
        draft.add(PixelUnshuffle, "unshuffle", factor=factor)
    draft.conv("conv_first", first)
    start = draft.last
    for block in range(blocks):
        before = draft.last
        for dense in (1, 2, 3):
            _dense(draft, keys, block, dense)
        _scaled_sum(draft, f"block{block}", before)
    draft.conv("conv_body", draft.module(keys.trunk(blocks)))
    draft.plus("body", start, draft.last)
    for i in range(ups):
        draft.upsample(f"enlarged{i}")
        draft.conv(f"conv_up{i}", draft.module(keys.ups(i)))
        draft.activation(i, "up_")
    draft.conv("conv_hr", draft.module(hr))
    draft.activation("", "hr_")
    draft.conv("conv_last", draft.module(last))
    image_layers.finish(draft, UNIT, 2**ups // factor)


def _unshuffle(inside: int, out: int) -> int:
    """The factor of the pixel-unshuffle before the first convolution."""
    return {4 * out: 2, 16 * out: 4}.get(inside, 1)


def _dense(draft: SpecBuilder, keys: _Keys, block: int, dense: int) -> None:
    """Five convolutions, each of all that came before it in the block."""
    before = draft.last
    parts = [before]
    name = f"block{block}_dense{dense}"
    for i in range(1, 6):
        if len(parts) > 1:
            draft.add(Concat, f"{name}_joined{i}", inputs=tuple(parts))
        draft.conv(f"{name}_conv{i}", draft.module(keys.inner(block, dense, i)))
        if i < 5:
            draft.activation(i, f"{name}_")
            parts.append(draft.last)
    _scaled_sum(draft, name, before)


def _scaled_sum(draft: SpecBuilder, name: str, before: str) -> None:
    draft.add(Scale, f"{name}_scaled", factor=_RESIDUAL, offset=0.0)
    draft.plus(name, before, draft.last)


FAMILY = Family("rrdb", "RRDBNet of ESRGAN, Real-ESRGAN and BSRGAN", _build, slope=0.2)
