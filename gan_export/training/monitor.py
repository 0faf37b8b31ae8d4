"""Detect divergence (NaN or infinite losses), a saturated discriminator and a collapsed one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gan_export.training.losses import Loss
from gan_export.training.step import READINGS

Readings = npt.NDArray[np.float64]  # (steps, READINGS)


def not_finite(rows: Readings) -> tuple[int, str] | None:
    """Return the first row with a NaN or an infinity, and its name; None if all values are finite."""
    bad = ~np.isfinite(rows)
    if not bad.any():
        return None
    row = int(np.argmax(bad.any(axis=1)))
    column = int(np.argmax(bad[row]))
    return row, f"{READINGS[column]} is {rows[row, column]}"


class TrainingMonitor:
    """A monitor of successive windows of steps, which reports each new problem once."""

    def __init__(self, loss: Loss) -> None:
        self._loss = loss
        self._said: str | None = None

    def look(self, rows: Readings) -> str | None:
        """Return a sentence if the window shows a new problem of the discriminator, else None."""
        loss_d, _, generated, real = (float(v) for v in rows.mean(axis=0))
        found = None
        if self._loss.decided(generated, real, loss_d):
            found = (
                "the discriminator separates real and generated images perfectly: the generator learns little from it"
            )
        elif np.abs(rows[:, 2] - rows[:, 3]).max() < 1e-5:
            found = "the discriminator has collapsed: it gives real and generated images the same score"
        new = found if found != self._said else None
        self._said = found
        return new
