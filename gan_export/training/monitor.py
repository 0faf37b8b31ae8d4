"""Notices when training has stopped being training: numbers that are none, and discriminators that have won or died."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gan_export.training.losses import Loss
from gan_export.training.step import READINGS

Readings = npt.NDArray[np.float64]  # (steps, READINGS)


def not_finite(rows: Readings) -> tuple[int, str] | None:
    """The first row with a NaN or an infinity, and what it is; None where all is finite."""
    bad = ~np.isfinite(rows)
    if not bad.any():
        return None
    row = int(np.argmax(bad.any(axis=1)))
    column = int(np.argmax(bad[row]))
    return row, f"{READINGS[column]} is {rows[row, column]}"


class TrainingMonitor:
    """Looks at a window of steps after another; says each new trouble once."""

    def __init__(self, loss: Loss) -> None:
        self._loss = loss
        self._said: str | None = None

    def look(self, rows: Readings) -> str | None:
        """A sentence when something new is wrong with the window's discriminator."""
        loss_d, _, generated, real = (float(v) for v in rows.mean(axis=0))
        found = None
        if self._loss.decided(generated, real, loss_d):
            found = "the discriminator tells every picture apart: the generator learns little from it any more"
        elif np.abs(rows[:, 2] - rows[:, 3]).max() < 1e-5:
            found = "the discriminator has collapsed: it says the same of real and generated pictures"
        new = found if found != self._said else None
        self._said = found
        return new
