"""State what the code of a layer is written from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gan_export._lib.escape import C, Text
from gan_export.exporters.c.plan import Grid

Names = Mapping[str, Text[C]]  # a layer's name -> its C identifier


@dataclass(frozen=True, slots=True)
class Place:
    """State what the body of a layer's function is written from.

    layer:     the layer, of the class that the registry has beside the writer
    own:       its C identifier
    ins, out:  the grids of its inputs and of its output
    precision: of the weights: fp32, fp16 or int8
    """

    layer: Any
    own: Text[C]
    ins: tuple[Grid, ...]
    out: Grid
    precision: str

    @property
    def source(self) -> Grid:
        """The grid of the first input."""
        return self.ins[0]


@dataclass(frozen=True, slots=True)
class Writer:
    """State how a kind of layer is written.

    body:  the statements of its function; x (or x0, x1, ...) and y are its inputs and its output
    title: what the comment above the function says of a layer
    """

    body: Callable[[Place], Text[C]]
    title: Callable[[Any], Text[C]]
