"""Return wrong images from the third call on, in the first process only."""

from functools import cache

from gan_export.runtimes.base import Pictures
from tests.runtimes.planted import in_place_of_onnxruntime
from tests.runtimes.planted.wavering import number

_first = cache(lambda: number() == 0)
_calls = 0


def _count() -> None:
    global _calls  # noqa: PLW0603  one worker, one count
    _calls += 1


def _change(pictures: Pictures) -> Pictures:
    return pictures * 0 if _first() and _calls > 3 else pictures


find = in_place_of_onnxruntime(_count, _change)
