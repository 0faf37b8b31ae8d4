"""The tolerances that formats use, one per precision."""

from __future__ import annotations

from dataclasses import dataclass

FLOAT32_ERROR = 2e-5


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The maximum difference of an export from the exact values.

    max_abs:     largest error of a value, in half ranges; None skips this check
    byte_share:  largest share of differing bytes
    byte_step:   largest difference of a byte
    psnr:        smallest peak signal-to-noise ratio of the bytes, in dB; None skips this check
    """

    max_abs: float | None
    byte_share: float
    byte_step: int
    psnr: float | None = None

    def wider_than(self, other: Tolerance) -> bool:
        """Return whether this tolerance passes anything that `other` does not."""
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


def of_bytes(psnr: float) -> Tolerance:
    """Return the tolerance of a precision below float32: single values may differ, so only the PSNR in dB counts."""
    return Tolerance(max_abs=None, byte_share=1.0, byte_step=255, psnr=psnr)


FLOAT32 = Tolerance(max_abs=FLOAT32_ERROR, byte_share=1e-4, byte_step=1)
FP16, BF16, INT8 = of_bytes(45.0), of_bytes(35.0), of_bytes(28.0)
FAST = of_bytes(45.0)  # products of 16-bit numbers
WORST_IMAGE = 36.0  # dB that each image of a file with such products must have
