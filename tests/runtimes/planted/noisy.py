"""Print to stdout from Python and from C at every call."""

import os

from tests.runtimes.planted import in_place_of_onnxruntime, same


def _print() -> None:
    print("noise from Python")
    os.write(1, b"noise from C\n")


find = in_place_of_onnxruntime(_print, same)
