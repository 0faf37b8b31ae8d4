"""Append the blur of lucidrains' generators: a filter of three values along both axes, mirrored at the edge."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gan_export.graph.layers import GroupedConv, Pad
from gan_export.recognize.attention import only
from gan_export.recognize.builder import SpecBuilder


def blurred(draft: SpecBuilder, path: str, name: str) -> str:
    """Append the blur at `path`, and return its name."""
    channels = draft.shape[0]
    taps = only(draft, path, {"f": (3,)})
    draft.add(Pad, f"{name}_pad", size=1, mode="reflect")
    draft.add(GroupedConv, name, in_channels=channels, out_channels=channels, kernel=3, groups=channels)
    shape = (channels, 1, 3, 3)
    draft.derive(f"{name}.weight", (f"{taps.key}.f",), shape, lambda f: np.broadcast_to(_kernel(f), shape))
    return name


def _kernel(taps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    kernel = np.outer(taps, taps)
    return np.asarray(kernel / np.abs(kernel).sum())
