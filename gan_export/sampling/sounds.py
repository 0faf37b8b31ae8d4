"""Signals as WAV files of 16 bits, by the standard library."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gan_export._lib.fs import atomic_file
from gan_export.errors import GanExportError

Floats = npt.NDArray[np.float32]
MOST_CHANNELS = 2


def check(channels: int, rate: int) -> None:
    """Raise GanExportError for a signal or a rate that a WAV file doesn't have."""
    if not 1 <= rate <= 1_000_000:
        raise GanExportError(f"sample rate {rate}: must be 1 to 1,000,000 values per second")
    if channels > MOST_CHANNELS:
        raise GanExportError(f"a WAV file has 1 or 2 channels, this signal has {channels}; use .npy or .npz")


def write(path: Path, signal: Floats, span: tuple[float, float], rate: int) -> None:
    """Write a signal (C, L) as 16-bit PCM of `rate` values per second, completely or not at all.

    The ends of `span` become -32767 and 32767; what is beyond them is cut off, and NaN is silence.
    """
    low, high = span
    unit = np.nan_to_num((signal.astype(np.float64) - low) * (2.0 / (high - low)) - 1.0)
    values = np.rint(np.clip(unit, -1.0, 1.0) * 32767.0).astype("<i2")
    with atomic_file(path) as temporary, wave.open(str(temporary), "wb") as f:
        f.setnchannels(len(signal))
        f.setsampwidth(2)
        f.setframerate(rate)
        f.writeframes(np.ascontiguousarray(values.T).tobytes())
