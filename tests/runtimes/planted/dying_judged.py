"""Draws the right pictures, and aborts when they are asked for a third time: when it is judged after timing.

The first are those of its start, and the second those that it is judged by before.
"""

import os

from gan_export.runtimes.base import Pictures
from tests.runtimes.planted import CALL, in_place_of_onnxruntime, pausing

_asked = 0


def _change(pictures: Pictures) -> Pictures:
    global _asked  # noqa: PLW0603  one worker, one count
    _asked += 1
    if _asked == 3:
        os.abort()
    return pictures


find = in_place_of_onnxruntime(pausing(CALL), _change)
