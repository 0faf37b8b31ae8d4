"""Take at least 10 ms per call, for any number of images."""

from tests.runtimes.planted import in_place_of_onnxruntime, pausing, same

find = in_place_of_onnxruntime(pausing(0.01), same)
