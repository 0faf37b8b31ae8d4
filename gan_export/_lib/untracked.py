"""Imports of libraries that send usage reports (telemetry), with the reports switched off."""

from __future__ import annotations

import sys
from typing import Any, cast


def openvino() -> Any:
    """Import openvino without its telemetry, which sends a report at import: the package is hidden from the import.

    Has no effect if the process has imported openvino or openvino_telemetry before.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", cast(Any, None))
    import openvino

    return openvino


def onnxruntime() -> Any:
    """Import onnxruntime and disable its telemetry events, which only some builds have."""
    import onnxruntime

    if hasattr(onnxruntime, "disable_telemetry_events"):
        onnxruntime.disable_telemetry_events()
    return onnxruntime
