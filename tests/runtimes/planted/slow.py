"""Behave as `steady`, but 10 % slower."""

from tests.runtimes.planted import CALL, in_place_of_onnxruntime, pausing, same

find = in_place_of_onnxruntime(pausing(1.1 * CALL), same)
