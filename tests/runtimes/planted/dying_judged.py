"""Return the right images, and abort at the third request for them: when they are verified after timing.

The first request is at the start, the second is the verification before timing.
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
