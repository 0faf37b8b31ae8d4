"""The tolerances of exports relative to their checkpoint: the verifier's own table, which no file can widen.

Errors of values are in half ranges: for values in [-1, 1] that is the absolute error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gan_export.errors import GanExportError, printable
from gan_export.formats.base import CHECKPOINT
from gan_export.formats.bounds import BF16, FAST, FLOAT32, FLOAT32_ERROR, FP16, Tolerance
from gan_export.formats.registry import FORMATS
from gan_export.graph.ports import require_finite

MOST_STATED = 2e-4  # of eager float32's error that a file may state: a larger value counts as this
_FACTOR = 3.0  # an export's error may be this factor times eager float32's
_HALF_RANGE_IN_BYTES = 127.5
_CHECKPOINT: Mapping[str, Tolerance] = {  # torch on the checkpoint itself, for the bench
    "fp32": FLOAT32,
    "tf32": FP16,  # rounds to the ten bits of fp16's mantissa
    "fp16": FP16,
    "bf16": BF16,
    "int16": FAST,
}


@dataclass(frozen=True, slots=True)
class Rounding:
    """The error of eager float32 relative to the exact values, which every export is allowed.

    error: of a value, in half ranges; byte_share: of differing bytes; byte_step: largest difference of one
    """

    error: float = 0.0
    byte_share: float = 0.0
    byte_step: int = 0

    @staticmethod
    def stated(error: float) -> Rounding:
        """Return the rounding for a file's stated error, limited to MOST_STATED, and the byte share that it causes."""
        error = min(error, MOST_STATED)
        if _FACTOR * error <= FLOAT32_ERROR:
            return Rounding()
        return Rounding(error, _HALF_RANGE_IN_BYTES * error, 1)


@dataclass(frozen=True, slots=True)
class Rule:
    """The tolerance of the table for an export, and the error that the user allows by --max-error instead."""

    line: Tolerance
    max_error: float | None = None

    def given(self, rounding: Rounding = Rounding()) -> Tolerance:
        """Return the tolerance for a checkpoint with this rounding in eager float32."""
        found = self.line
        if found.max_abs is not None:
            found = replace(
                found,
                max_abs=max(found.max_abs, _FACTOR * rounding.error),
                byte_share=max(found.byte_share, min(1.0, _FACTOR * rounding.byte_share)),
                byte_step=max(found.byte_step, rounding.byte_step),
            )
        return found if self.max_error is None else _allowing(found, self.max_error)


def _allowing(found: Tolerance, error: float) -> Tolerance:
    """Return a tolerance with another bound on values; a wider one also allows the bytes that such errors change."""
    if found.max_abs is None or error <= found.max_abs:
        return replace(found, max_abs=error)
    step = min(255, math.ceil(_HALF_RANGE_IN_BYTES * error))
    share = min(1.0, _HALF_RANGE_IN_BYTES * error)
    return replace(found, max_abs=error, byte_share=max(found.byte_share, share), byte_step=max(found.byte_step, step))


def rule(format: str, precision: str, max_error: float | None = None, *, arithmetic: str = "float32") -> Rule:
    """Return the rule of an exporter's format, or "checkpoint", in a precision.

    arithmetic: "fast" for a file whose runtime may multiply 16-bit numbers
    Raises GanExportError if there is none.
    """
    if max_error is not None and not (math.isfinite(max_error) and max_error > 0.0):
        raise GanExportError(f"max_error={max_error}: must be above 0")
    lines = _CHECKPOINT if format == CHECKPOINT else _lines(format)
    try:
        line = lines[precision]
    except (KeyError, TypeError):
        known = ", ".join(lines) or "no precision at all"
        raise GanExportError(
            f"no tolerance is known for {printable(str(format), 40)} in {printable(str(precision), 40)}: it has {known}"
        ) from None
    if arithmetic == "fast" and (line.psnr is None or line.psnr > (FAST.psnr or 0.0)):
        line = FAST
    return Rule(line, max_error)


def _lines(exporter: str) -> Mapping[str, Tolerance]:
    """Return the tolerances of the format that `exporter` writes; empty if there is none."""
    return next((f.tolerances for f in FORMATS if f.exporter == exporter), {})


def half_range(span: tuple[float, float] | None, exact: npt.NDArray[np.float64]) -> float:
    """Return the unit of errors: half of (low, high), or the largest exact value (at least 1) if there is no range.

    Raises GanExportError for values that are not finite.
    """
    require_finite(exact)
    return (span[1] - span[0]) / 2.0 if span is not None else max(1.0, float(np.abs(exact).max()))


def worth_stating(error: float) -> float:
    """Return eager float32's error as a manifest states it: 0 unless it widens the table, else the next power of two.

    It is rounded because processors round differently, and a manifest depends only on the checkpoint.
    """
    if _FACTOR * error <= FLOAT32_ERROR:
        return 0.0
    return float(2.0 ** math.ceil(math.log2(error)))
