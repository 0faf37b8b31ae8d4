"""The reference in a process of its own: a checkpoint's layers in float64 and in float32.

It is in no registry of runtimes: `open_remote` gets this module as its registry instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gan_export.errors import GanExportError, printable
from gan_export.graph.signature import Feeds
from gan_export.runtimes.base import Outputs, SessionInfo
from gan_export.runtimes.torch_session import prepare_torch, session_info

if TYPE_CHECKING:
    from gan_export.checkpoint import Checkpoint

REGISTRY = "gan_export.runtimes.exact"
NAME = "exact"


class ExactSession:
    """The float64 and float32 modules of one checkpoint, on the CPU."""

    def __init__(self, read: Checkpoint, info: SessionInfo) -> None:
        from gan_export.graph.torch_module import build_module

        self._modules: tuple[Any, ...] = tuple(build_module(read.spec, read.weights) for _ in range(2))
        self._modules[0].double()
        self._signature = read.spec.signature
        self.info = info

    def run(self, feeds: Feeds) -> Outputs:
        """Return each output twice, float64 (N, 2, ...): the exact values, and those of float32."""
        import torch

        tensors = [torch.from_numpy(feeds[p.name]) for p in self._signature.inputs]
        exact, eager = self._modules
        with torch.inference_mode():
            true = _tuple(exact(*[t.double() if t.is_floating_point() else t for t in tensors]))
            rounded = _tuple(eager(*tensors))
        return {
            port.name: np.stack([a.numpy(), b.numpy().astype(np.float64)], axis=1)
            for port, a, b in zip(self._signature.outputs, true, rounded, strict=True)
        }

    def close(self) -> None:
        self._modules = ()


def _tuple(made: Any) -> tuple[Any, ...]:
    return made if isinstance(made, tuple) else (made,)


@dataclass(frozen=True, slots=True)
class Exact:
    """The runtime that `open_remote` finds in this module."""

    def load(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> ExactSession:
        from gan_export import checkpoint

        prepare_torch(device, threads)
        return ExactSession(checkpoint.read(path, by_evidence=False), session_info(NAME, device))


def find(name: str) -> Exact:
    """Return the only entry of this registry."""
    if name != NAME:
        raise GanExportError(f"no reference is called {printable(name)}; there is {NAME}")
    return Exact()
