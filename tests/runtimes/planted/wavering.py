"""Give each process a speed of its own (standard deviation 20 %, far more than a machine adds); calls differ by 2 %.

The speeds come from a fixed stream: the i-th process that starts with NUMBERS in its environment (a folder that counts
them) gets the i-th.
"""

import os
import random
import time
from functools import cache
from itertools import count
from pathlib import Path

from tests.runtimes.planted import in_place_of_onnxruntime, same

NUMBERS = "GAN_EXPORT_TEST_NUMBERS"
CALL = 0.02  # seconds, the median


@cache
def _stream() -> tuple[random.Random, float]:
    """Return this process's random numbers, and its seconds per call."""
    stream = random.Random(number())
    return stream, CALL * stream.lognormvariate(0, 0.2)


def number() -> int:
    """Return how many processes started before this one."""
    folder = Path(os.environ[NUMBERS])
    return next(n for n in count() if _taken(folder / str(n)))


def _taken(file: Path) -> bool:
    try:
        file.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _wait() -> None:
    stream, pace = _stream()
    time.sleep(pace * stream.lognormvariate(0, 0.02))


find = in_place_of_onnxruntime(_wait, same)
