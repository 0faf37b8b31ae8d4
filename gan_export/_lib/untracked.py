"""Libraries that report their use to their makers, imported such that they don't."""

from __future__ import annotations

import sys
from typing import Any, cast


def openvino() -> Any:
    """Import openvino, whose import alone sends to Google; its telemetry is made to look as if it weren't installed.

    If something else of this process has imported that telemetry before, it stays.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", cast(Any, None))
    import openvino

    return openvino


def onnxruntime() -> Any:
    """Import onnxruntime, with its events for Microsoft off if this wheel has any."""
    import onnxruntime

    if hasattr(onnxruntime, "disable_telemetry_events"):
        onnxruntime.disable_telemetry_events()
    return onnxruntime
