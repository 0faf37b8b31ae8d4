"""Every call takes CALL at least, so that its speed hangs on the clock and not on what else the machine does."""

from tests.runtimes.planted import CALL, in_place_of_onnxruntime, pausing, same

find = in_place_of_onnxruntime(pausing(CALL), same)
