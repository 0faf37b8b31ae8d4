"""Map the type of each layer to the function that builds its PyTorch module.  Only Concat has no module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gan_export.graph.torch_layers import alias_free, basic, images_in, linear_attention, nd, style
from gan_export.graph.torch_layers.base import Builder

BUILDERS: Mapping[type[Any], Builder] = {
    **basic.BUILDERS,
    **images_in.BUILDERS,
    **style.BUILDERS,
    **alias_free.BUILDERS,
    **nd.BUILDERS,
    **linear_attention.BUILDERS,
}
