"""How far an export may be from its checkpoint: the verifier's own table, which nothing that a file says can widen.

Errors of values are in half ranges: for values in [-1, 1] that is the absolute error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gan_export.errors import GanExportError, printable
from gan_export.graph.ports import require_finite

MOST_STATED = 2e-4  # of the error of eager float32 that a file may state: what is more counts as this
_FACTOR = 3.0  # an export may be so many times as far from the exact values as eager float32 is
_HALF_RANGE_IN_BYTES = 127.5
_FLOAT32_ERROR = 2e-5


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far an export may be from the exact values.

    max_abs:     largest error of a value, in half ranges; None leaves values unjudged
    byte_share:  largest share of differing bytes
    byte_step:   largest difference of a byte
    psnr:        smallest peak signal-to-noise ratio of the bytes, in dB; None leaves it unjudged
    """

    max_abs: float | None
    byte_share: float
    byte_step: int
    psnr: float | None = None

    def wider_than(self, other: Tolerance) -> bool:
        """Whether this one passes anything that `other` does not."""
        values = other.max_abs is not None and (self.max_abs is None or self.max_abs > other.max_abs)
        noise = other.psnr is not None and (self.psnr is None or self.psnr < other.psnr)
        return values or noise or self.byte_share > other.byte_share or self.byte_step > other.byte_step

    def __str__(self) -> str:
        parts = [] if self.max_abs is None else [f"values within {self.max_abs:.2g}"]
        if self.byte_share < 1.0:
            parts.append(f"{100 * self.byte_share:.2g} % of bytes off by up to {self.byte_step}")
        if self.psnr is not None:
            parts.append(f"at least {self.psnr:g} dB")
        return ", ".join(parts) or "anything"


@dataclass(frozen=True, slots=True)
class Rounding:
    """How far eager float32 itself is from the exact values: what no export can be blamed for.

    error: of a value, in half ranges; byte_share: of differing bytes; byte_step: largest difference of one
    """

    error: float = 0.0
    byte_share: float = 0.0
    byte_step: int = 0

    @staticmethod
    def stated(error: float) -> Rounding:
        """What a file's word counts for: up to MOST_STATED, its bytes as often off as such an error makes them."""
        error = min(error, MOST_STATED)
        if _FACTOR * error <= _FLOAT32_ERROR:
            return Rounding()
        return Rounding(error, _HALF_RANGE_IN_BYTES * error, 1)


@dataclass(frozen=True, slots=True)
class Rule:
    """What an export is judged by: the table's line, and the error that the user allows by --max-error instead."""

    line: Tolerance
    max_error: float | None = None

    def given(self, rounding: Rounding = Rounding()) -> Tolerance:
        """The tolerance for a checkpoint that eager float32 computes with that rounding."""
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
    """With another bound on values; a wider one lets as many bytes differ as values that are so far off can."""
    if found.max_abs is None or error <= found.max_abs:
        return replace(found, max_abs=error)
    step = min(255, math.ceil(_HALF_RANGE_IN_BYTES * error))
    share = min(1.0, _HALF_RANGE_IN_BYTES * error)
    return replace(found, max_abs=error, byte_share=max(found.byte_share, share), byte_step=max(found.byte_step, step))


def rule(format: str, precision: str, max_error: float | None = None) -> Rule:
    """The line for an exporter's format, or "checkpoint", in a precision.  Raises GanExportError if there is none."""
    if max_error is not None and not (math.isfinite(max_error) and max_error > 0.0):
        raise GanExportError(f"--max-error {max_error}: a number above 0 is needed")
    try:
        return Rule(TABLE[format, precision], max_error)
    except (KeyError, TypeError):
        known = ", ".join(p for f, p in TABLE if f == format) or "no precision at all"
        raise GanExportError(
            f"no tolerance is known for {printable(str(format), 40)} in {printable(str(precision), 40)}: it has {known}"
        ) from None


def half_range(span: tuple[float, float] | None, exact: npt.NDArray[np.float64]) -> float:
    """The unit of errors: half of (low, high), or the largest of the exact values, 1 at least, if nothing bounds them.

    Raises GanExportError for values that are not finite.
    """
    require_finite(exact)
    return (span[1] - span[0]) / 2.0 if span is not None else max(1.0, float(np.abs(exact).max()))


def worth_stating(error: float) -> float:
    """Eager float32's error as a manifest states it: 0 unless it widens the table, else the next power of two above.

    Coarsely, since processors round otherwise and a manifest depends on the checkpoint alone.
    """
    if _FACTOR * error <= _FLOAT32_ERROR:
        return 0.0
    return float(2.0 ** math.ceil(math.log2(error)))


def _of_bytes(psnr: float) -> Tolerance:
    """For a narrower precision, whose single values stray: their noise is judged."""
    return Tolerance(max_abs=None, byte_share=1.0, byte_step=255, psnr=psnr)


_FLOAT32 = Tolerance(max_abs=_FLOAT32_ERROR, byte_share=1e-4, byte_step=1)
_FP16, _BF16, _INT8 = _of_bytes(45.0), _of_bytes(35.0), _of_bytes(28.0)
TABLE: Mapping[tuple[str, str], Tolerance] = {
    ("torchscript", "fp32"): _FLOAT32,
    ("pt2", "fp32"): _FLOAT32,
    ("aoti", "fp32"): _FLOAT32,
    ("safetensors", "fp32"): _FLOAT32,
    ("litert", "fp32"): _FLOAT32,
    ("executorch", "fp32"): _FLOAT32,
    ("onnx", "fp32"): _FLOAT32,
    ("onnx", "fp16"): _FP16,
    ("onnx", "int8"): _INT8,
    ("openvino", "fp32"): _FLOAT32,
    ("openvino", "fp16"): _FP16,
    ("openvino", "int8"): _INT8,
    ("native", "fp32"): _FLOAT32,
    ("native", "fp16"): _FP16,
    ("native", "bf16"): _BF16,
    ("c", "fp32"): _FLOAT32,
    ("c", "fp16"): _FP16,
    ("c", "int8"): _of_bytes(35.0),  # of the weights alone, not of the values
    ("ncnn", "fp32"): _FLOAT32,
    ("ncnn", "fp16"): _FP16,
    ("coreml", "fp32"): _FLOAT32,
    ("coreml", "fp16"): _FP16,
    # torch on the checkpoint itself, which the bench measures
    ("checkpoint", "fp32"): _FLOAT32,
    ("checkpoint", "tf32"): _FP16,  # rounds to the ten bits of mantissa that fp16 has
    ("checkpoint", "fp16"): _FP16,
    ("checkpoint", "bf16"): _BF16,
}
