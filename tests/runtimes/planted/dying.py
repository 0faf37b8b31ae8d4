"""Abort at the first call."""

import os

from tests.runtimes.planted import in_place_of_onnxruntime, same

find = in_place_of_onnxruntime(os.abort, same)
