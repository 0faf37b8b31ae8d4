"""Add named nodes to a torch.fx graph.

torch writes the names into Python source and compiles it.  The functions therefore take `Text[Python]`, not `str`, so
that a name from a file must have been made an identifier before.  Only this module adds named nodes
(`tests/security/test_lint.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn

from gan_export._lib.escape import Python, Text


def placeholder(graph: fx.Graph, name: Text[Python]) -> fx.Node:
    """Add an input of `forward` and return its node."""
    return graph.placeholder(str(name), type_expr=torch.Tensor)


def call_module(
    graph: fx.Graph, name: Text[Python], given: tuple[Any, ...], named: Mapping[Text[Python], Any] | None = None
) -> fx.Node:
    """Add a call of a submodule, with positional and keyword arguments, and return its node."""
    return graph.call_module(str(name), given, {str(n): value for n, value in (named or {}).items()})


def graph_module(layers: nn.Module | dict[str, Any], graph: fx.Graph) -> fx.GraphModule:
    """Return a module of a graph; torch generates and compiles its code."""
    return fx.GraphModule(layers, graph, class_name="Generator")
