"""A number that changes from step to step, where a recorded step still reads it."""

from __future__ import annotations

import torch
from torch import Tensor


class StepScalar:
    """Set by the loop, read by the step: a plain number, or with a device a float32 scalar in its memory.

    A CUDA graph keeps the plain numbers that it was recorded with, and reads the scalar anew at each replay.
    """

    def __init__(self, value: float = 0.0, device: torch.device | None = None) -> None:
        self._value = value
        self._held = None if device is None else torch.full((), value, device=device)

    def set(self, value: float) -> None:
        if value != self._value:
            self._value = value
            if self._held is not None:
                self._held.fill_(value)

    @property
    def value(self) -> float:
        """As it was set."""
        return self._value

    @property
    def read(self) -> float | Tensor:
        """For the step's arithmetic."""
        return self._value if self._held is None else self._held
