"""Return right images when bound, and wrong ones from the third call on: a runtime that fails during timing."""

from gan_export.runtimes.base import Pictures
from tests.runtimes.planted import in_place_of_onnxruntime

_calls = 0


def _count() -> None:
    global _calls  # noqa: PLW0603  one worker, one count
    _calls += 1


def _change(pictures: Pictures) -> Pictures:
    return pictures * 0 if _calls > 3 else pictures


find = in_place_of_onnxruntime(_count, _change)
