"""Recognize junyanz's U-Net generator (pix2pix): `unet_256` of 8 levels, `unet_128` of 7, and any number.

The levels are nested: `model.model.0`, `model.model.1.model.{1,2,3,5,6}`, ...; the innermost has no norm after
its first convolution, `.model.1`, and a transposed one at `.model.3`.  Dropout has no keys: it is last in its level.
"""

from __future__ import annotations

from gan_export.graph.layers import Activation, Concat
from gan_export.graph.ports import Size
from gan_export.recognize import dropout, image_layers
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError

SIGNED = (-1.0, 1.0)
_MOST_LEVELS = 12
_FIRST_DROPPED = 4  # levels from this one have the widest layers, and dropout, except for the innermost


def _build(draft: SpecBuilder) -> None:
    paths = _levels(draft)
    levels = len(paths) + 1
    widths = [draft.module("0").conv[1], *(draft.module(f"{p}.1").conv[1] for p in paths)]
    dropped = range(_FIRST_DROPPED, levels - 1)
    masks = dropout.masks(draft, [(widths[i - 1], 2**i) for i in dropped], hidden=True)
    image_layers.start(draft, draft.module("0").conv[0], Size(2**levels, 2**levels), SIGNED, *masks)
    values = [_down(draft, 0, "0")]
    for i, path in enumerate(paths, 1):
        draft.add(Activation, f"leaky{i}", kind="leaky_relu", slope=_slope(draft))
        _down(draft, i, f"{path}.1")
        if i < levels - 1:
            image_layers.norm(draft, f"norm_down{i}", f"{path}.2", "image")
        values.append(draft.last)
    for i, path in reversed(list(enumerate(paths, 1))):
        conv, norm = (3, 4) if i == levels - 1 else (5, 6)
        image_layers.relu(draft, f"relu{i}")
        draft.conv_transpose(f"conv_up{i}", draft.module(f"{path}.{conv}"), 2, 1)
        image_layers.norm(draft, f"norm_up{i}", f"{path}.{norm}", "image")
        if masks and i in dropped:
            dropout.drop(draft, f"drop{i}", masks[i - dropped.start])
        draft.add(Concat, f"joined{i}", inputs=(values[i - 1], draft.last))
    image_layers.relu(draft, "relu0")
    draft.conv_transpose("conv_up0", draft.module("3"), 2, 1)
    draft.add(Activation, "tanh", kind="tanh")
    image_layers.finish(draft, SIGNED)


def _levels(draft: SpecBuilder) -> list[str]:
    """Return the path of each level's Sequential, from the second one inwards."""
    paths = ["1.model"]
    while f"{paths[-1]}.3" not in draft.state.modules:
        if len(paths) == _MOST_LEVELS:
            raise DoesNotFitError(f"more than {_MOST_LEVELS} levels, or none")
        draft.module(f"{paths[-1]}.1")
        paths.append(f"{paths[-1]}.3.model")
    return paths


def _down(draft: SpecBuilder, i: int, path: str) -> str:
    return image_layers.conv(draft, f"conv_down{i}", draft.module(path), stride=2, padding=1)


def _slope(draft: SpecBuilder) -> float:
    """Return the slope of the activations on the way down; on the way up they are ReLU."""
    slope: float = draft.choice("slope", draft.family.slope, "the activations on the way down", "LeakyReLU 0.2")
    return slope


FAMILY = Family("junyanz_unet", "junyanz's pix2pix U-Net generator", _build, slope=0.2)
