"""Return the right images, and abort at the 14th call: during timing."""

import os
import time

from tests.runtimes.planted import CALL, in_place_of_onnxruntime, same

_calls = 0


def _count() -> None:
    global _calls  # noqa: PLW0603  one worker, one count
    _calls += 1
    if _calls == 14:
        os.abort()
    time.sleep(CALL)


find = in_place_of_onnxruntime(_count, same)
