"""Every call takes 10 ms at least, however few pictures it draws."""

from tests.runtimes.planted import in_place_of_onnxruntime, pausing, same

find = in_place_of_onnxruntime(pausing(0.01), same)
