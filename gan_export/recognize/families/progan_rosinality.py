"""rosinality's progressive-gan-pytorch (`progression.{i}`), and odegeasslbc's after it (`progression_{side}`).

A pixel norm stands before each activation.  The networks have all stages from the start, and weights are `weight_orig`.
"""

from __future__ import annotations

from gan_export.graph.layers import Concat, Reshape
from gan_export.graph.words import UpsampleMode
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.nvlabs import number
from gan_export.recognize.progressive import (
    Layer,
    conv,
    embedded_label,
    enlarged,
    equalized,
    from_pixel,
    layer,
    leaky,
    leave_out,
    pixel_norm,
    stage_of,
)
from gan_export.recognize.state_dict import DoesNotFitError

RAW = "weight_orig"


def _build(draft: SpecBuilder) -> None:
    if draft.maybe("input_layer.0.conv") is not None:
        _later(draft)
    else:
        _first(draft)
    draft.settings("", "Generator")


def _first(draft: SpecBuilder) -> None:
    """rosinality's: the first convolution makes 4x4 of z and of the label's features."""
    count = len(draft.numbered("progression.#.conv.0.conv"))
    blocks = [f"progression.{i}" for i in range(count)]
    stage = stage_of(draft, [4 << i for i in range(count)])
    slope = _slope(draft, "progression.0.conv.2", 0.2)
    start = layer(draft, f"{blocks[0]}.conv.0.conv", 4, array=RAW)
    label = embedded_label(draft)
    features = draft.shapes[label][0] if label else 0
    draft.start(start.shape[1] - features)
    draft.chain.last = "z"
    pixel_norm(draft, "z")
    if label:
        draft.add(Concat, "joined", inputs=("z_norm", label))
    draft.add(Reshape, "seed", shape=(start.shape[1], 1, 1))
    if start.shape[2] != 4:
        raise DoesNotFitError(f"{start.key} is {start.shape}, not a convolution of 4x4")
    from_pixel(draft, "conv0_0", equalized(start), flipped=True)
    normed = _between(draft, blocks[0])
    _active(draft, "conv0_0", slope, normed=normed)
    _second(draft, blocks[0], "conv0_1", slope)
    _stages(draft, blocks[1 : stage + 1], slope, "nearest")
    converters = [f"to_rgb.{i}" for i in range(count)]
    converters = [path if draft.maybe(path) is not None else f"{path}.conv" for path in converters]
    conv(draft, "to_image", _converter(draft, converters[stage]))
    _leave_out(draft, blocks[stage + 1 :], converters)


def _later(draft: SpecBuilder) -> None:
    """odegeasslbc's: a transposed convolution makes 4x4 of z, and the first images are of 8x8."""
    start = layer(draft, "input_layer.0.conv", 4, array=RAW, transposed=True)
    sides = [int(s) for (s,), _ in draft.matching(r"progression_(\d{1,4})\.conv\.0\.conv")]
    if start.shape[2] != 4 or len(sides) < 2 or sides != [4 << i for i in range(len(sides))]:
        raise DoesNotFitError(
            "no progression_4, progression_8, ... without a gap", (f"progression_4.conv.0.conv.{RAW}",)
        )
    blocks = [f"progression_{s}" for s in sides]
    stage = stage_of(draft, sides[1:]) + 1
    slope = _slope(draft, "input_layer.2", 0.1)
    draft.latent(start.shape[0])
    draft.add(Reshape, "seed", shape=(start.shape[0], 1, 1))
    from_pixel(draft, "start", equalized(start))
    _active(draft, "start", slope, normed=True)
    conv(draft, "conv0_0", equalized(layer(draft, f"{blocks[0]}.conv.0.conv", 4, array=RAW)))
    _active(draft, "conv0_0", slope, normed=_between(draft, blocks[0]))
    _second(draft, blocks[0], "conv0_1", slope)
    _stages(draft, blocks[1 : stage + 1], slope, "bilinear")
    converters = [f"to_rgb_{s}.conv" for s in sides[1:]]
    conv(draft, "to_image", _converter(draft, converters[stage - 1]))
    _leave_out(draft, blocks[stage + 1 :], converters)
    draft.output()


def _stages(draft: SpecBuilder, blocks: list[str], slope: float, mode: UpsampleMode) -> None:
    for s, path in enumerate(blocks, 1):
        enlarged(draft, f"up{s}", mode)
        conv(draft, f"conv{s}_0", equalized(layer(draft, f"{path}.conv.0.conv", 4, array=RAW)))
        _active(draft, f"conv{s}_0", slope, normed=_between(draft, path))
        _second(draft, path, f"conv{s}_1", slope)


def _second(draft: SpecBuilder, path: str, name: str, slope: float) -> None:
    """Append the second convolution of a block."""
    normed = _between(draft, path)
    conv(draft, name, equalized(layer(draft, f"{path}.conv.{3 if normed else 2}.conv", 4, array=RAW)))
    _active(draft, name, slope, normed=normed)


def _between(draft: SpecBuilder, path: str) -> bool:
    """Return whether a block has pixel norms: with them its second convolution is the layer 3 and not 2."""
    return draft.maybe(f"{path}.conv.3.conv") is not None


def _active(draft: SpecBuilder, name: str, slope: float, *, normed: bool) -> None:
    if normed:
        pixel_norm(draft, name)
    leaky(draft, name, slope)


def _slope(draft: SpecBuilder, path: str, usual: float) -> float:
    """The slope that a module, pickled whole, says; else its code's."""
    settings = draft.state.settings.get(path)
    return usual if settings is None else number(settings.values, path, "negative_slope", usual)


def _converter(draft: SpecBuilder, path: str) -> Layer:
    module = draft.module(path)
    raw = RAW in module.arrays
    read = layer(draft, path, 4, array=RAW if raw else "weight")
    return equalized(read, on=raw)


def _leave_out(draft: SpecBuilder, blocks: list[str], converters: list[str]) -> None:
    leave_out(draft, (*(f"{path}.conv.{i}.conv" for path in blocks for i in (0, 2, 3)), *converters))


FAMILY = Family(
    "progan_rosinality", "rosinality's progressive-gan-pytorch, and odegeasslbc's", _build, output="none",
    other_outputs=("tanh",),
)  # fmt: skip
