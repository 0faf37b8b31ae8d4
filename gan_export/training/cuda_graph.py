"""A training step as one launch: a CUDA graph, recorded once and replayed.

A step of a small GAN is some three hundred kernels of a few microseconds each, and the processor takes longer to
start them than the device to run them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan_export.training import step
from gan_export.training.snapshot import State

WARM = 3  # steps that run as they are before one is recorded: libraries choose and allocate in them


@dataclass
class _Kind:
    """Steps that launch the same kernels: how many have run as they are, then the graph and what it reads and gives."""

    seen: int = 0
    graph: torch.cuda.CUDAGraph | None = None
    real: Tensor | None = None
    labels: Tensor | None = None
    readings: Tensor | None = None


class Recorded:
    """`step.step` of a state on a CUDA device, with the same numbers drawn and the same updates."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._stream = torch.cuda.Stream(state.device)  # type: ignore[no-untyped-call]
        self._kinds: dict[step.Kind, _Kind] = {}

    def __call__(self, real: Tensor, labels: Tensor | None = None) -> Tensor:
        """As `step.step`; what it gives is overwritten by the next step."""
        step.update_schedules(self._state)
        kind = self._kinds.setdefault(step.kind(self._state, len(real)), _Kind())
        if kind.graph is None and kind.seen == WARM:
            self._record(kind, real, labels)
        if kind.graph is None:
            kind.seen += 1
            return self._as_it_is(real, labels)
        assert kind.real is not None
        assert kind.readings is not None
        kind.real.copy_(real)
        if kind.labels is not None and labels is not None:
            kind.labels.copy_(labels)
        kind.graph.replay()
        return kind.readings

    def _as_it_is(self, real: Tensor, labels: Tensor | None) -> Tensor:
        """On a stream of its own, as recording wants of all that runs before."""
        around = torch.cuda.current_stream(self._state.device)
        self._stream.wait_stream(around)
        with torch.cuda.stream(self._stream):
            readings = step.apply_step(self._state, real, labels)
        around.wait_stream(self._stream)
        return readings

    def _record(self, kind: _Kind, real: Tensor, labels: Tensor | None) -> None:
        kind.real, kind.labels = real.clone(), None if labels is None else labels.clone()
        kind.graph = torch.cuda.CUDAGraph()
        kind.graph.register_generator_state(self._state.noise)
        with torch.cuda.graph(kind.graph, stream=self._stream):
            kind.readings = step.apply_step(self._state, kind.real, kind.labels)
