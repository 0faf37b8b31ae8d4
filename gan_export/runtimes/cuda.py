"""Whether this machine has a CUDA device, asked of the driver itself: no torch, no runtime, no start-up noise."""

from __future__ import annotations

import ctypes
import functools
import sys

from gan_export.runtimes.base import AVAILABLE, Availability


@functools.cache
def device_count() -> int:
    """How many CUDA devices the driver offers; 0 without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int(0)
        if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
            return 0
        return count.value
    except (OSError, AttributeError):
        return 0


def cuda_availability() -> Availability:
    """Whether there is any CUDA device."""
    if device_count() == 0:
        return Availability(False, "no CUDA device here (the NVIDIA driver offers none); use --device cpu")
    return AVAILABLE
