"""A number that changes between steps and that a recorded step can read."""

from __future__ import annotations

import torch
from torch import Tensor


class StepScalar:
    """A value that the loop sets and the step reads: a plain number, or with a device a float32 scalar in its memory.

    A CUDA graph keeps the plain numbers that it was recorded with, but reads the scalar at each replay.
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
        """The value that was set."""
        return self._value

    @property
    def read(self) -> float | Tensor:
        """Return the number or tensor for the arithmetic of a step."""
        return self._value if self._held is None else self._held
