"""Take at least CALL per call, so that the speed depends on the clock and not on the machine's other work."""

from tests.runtimes.planted import CALL, in_place_of_onnxruntime, pausing, same

find = in_place_of_onnxruntime(pausing(CALL), same)
