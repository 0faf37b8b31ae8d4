"""Change one value of one image by 0.01."""

from gan_export.runtimes.base import Pictures
from tests.runtimes.planted import in_place_of_onnxruntime, nothing


def _change(pictures: Pictures) -> Pictures:
    changed = pictures.copy()
    changed[0, 0, 3, 4] += 0.01 if changed[0, 0, 3, 4] < 0 else -0.01  # type: ignore[misc]
    return changed


find = in_place_of_onnxruntime(nothing, _change)
