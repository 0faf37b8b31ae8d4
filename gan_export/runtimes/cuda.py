"""Ask the driver whether this machine has a CUDA device, without torch or the CUDA runtime."""

from __future__ import annotations

import ctypes
import functools
import sys

from gan_export.runtimes.base import AVAILABLE, Availability


@functools.cache
def device_count() -> int:
    """Return the number of CUDA devices; 0 without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int(0)
        if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
            return 0
        return count.value
    except (OSError, AttributeError):
        return 0


def cuda_availability() -> Availability:
    """Return whether there is a CUDA device."""
    if device_count() == 0:
        return Availability(False, "no CUDA device here (the NVIDIA driver offers none); use device=cpu")
    return AVAILABLE
