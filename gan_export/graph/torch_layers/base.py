"""Define the type of functions that build the PyTorch module of a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from gan_export.graph.layers import Shape

Shapes = tuple[Shape, ...]  # shapes of a layer's inputs, without N
Builder = Callable[[Any, Shapes], nn.Module]  # (layer, input shapes) -> its module, before its parameters are loaded
