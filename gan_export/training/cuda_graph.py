"""A training step as one launch: a CUDA graph that is recorded once and replayed.

A step of a small GAN has about three hundred kernels of a few microseconds each, and the processor takes longer to
launch them than the device takes to run them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan_export.training import step
from gan_export.training.snapshot import State

WARM = 3  # steps before one is recorded, in which libraries select algorithms and allocate memory


@dataclass
class _Kind:
    """Steps that launch the same kernels: a count of runs without a graph, then the graph with its tensors."""

    seen: int = 0
    graph: torch.cuda.CUDAGraph | None = None
    real: Tensor | None = None
    labels: Tensor | None = None
    readings: Tensor | None = None


class Recorded:
    """`step.step` of a state on a CUDA device, with the same random numbers and the same updates."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._stream = torch.cuda.Stream(state.device)  # type: ignore[no-untyped-call]
        self._kinds: dict[step.Kind, _Kind] = {}

    def __call__(self, real: Tensor, labels: Tensor | None = None) -> Tensor:
        """Call `step.step`; the result is overwritten by the next step."""
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
        """Run the step without a graph on a separate stream, which recording requires."""
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
