"""The law inside an ONNX graph: latents and labels to the bit, or a refusal, in each runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from gan_export import latents
from gan_export.exporters.onnx.sampler import ALL, RANDOM, REFUSAL, prepend_sampler
from gan_export.graph.views import LatentImage

Draw = Callable[..., tuple[np.ndarray, ...]]  # seed, start, count[, label] -> each of the graph's outputs

# (seed, start, count) on both sides of what 16, 31 and 32 bits hold
NARROW = [(0, 0, 1), (7, 5, 3), (2**31 - 1, 2**31 - 2, 4), (2**31, 2**16 - 2, 4), (2**32 - 300, 2**32 - 300, 3)]
WIDE = [(2**32, 0, 2), (2**32 + 7, 2**32 - 2, 4), (2**63 - 1, 2**62 - 3, 3), (1, 2**48 - 2, 4)]
NEVER = [(-1, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, -3), (-(2**63), 0, 1), (0, 2**62 + 2**41, 1), (0, 2**63 - 1, 2)]


def graph(prior: Any = "normal", classes: int = 0, nz: int = 100) -> onnx.ModelProto:
    """A sampler whose pictures are one row of bytes; it gives latents, and labels where it has them, beside them."""
    nodes = [
        helper.make_node("Mul", ["z", "scale"], ["seed"], name="seed"),  # a layer may bear an input's name
        helper.make_node("Cast", ["seed"], ["small"], to=TensorProto.UINT8),
        helper.make_node("Reshape", ["small", "shape"], ["image"]),
    ]
    inputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", nz])]
    more = [(REFUSAL, TensorProto.FLOAT, nz)]
    if classes:
        inputs.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]))
        nodes.append(helper.make_node("Identity", ["label"], ["chosen"]))
        more.append(("chosen", TensorProto.INT64, None))
    outputs = [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 1, nz, 1])]
    constants = [
        helper.make_tensor("shape", TensorProto.INT64, [4], [-1, 1, nz, 1]),
        helper.make_tensor("scale", TensorProto.FLOAT, [], [0.0]),
    ]
    whole = helper.make_graph(nodes, "g", inputs, outputs, constants)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    prepend_sampler(model, LatentImage(nz, prior, classes, (1, 1, nz), (-1.0, 1.0)))
    onnx.checker.check_model(model, full_check=True)
    for name, kind, width in more:
        model.graph.output.append(helper.make_tensor_value_info(name, kind, ["count", width][: 2 if width else 1]))
    return model


def opened(runtime: str, model: onnx.ModelProto, level: str = "ORT_ENABLE_ALL") -> Draw:
    """The graph in a runtime's own interface."""
    data = model.SerializeToString()
    if runtime == "openvino":
        openvino = pytest.importorskip("openvino")
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        call = lambda feeds: tuple(np.array(compiled(feeds)[i]) for i in range(len(compiled.outputs)))  # noqa: E731
    else:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        call = lambda feeds: tuple(session.run(None, feeds))  # noqa: E731

    def draw(seed: int, start: int, count: int, label: object = None) -> tuple[np.ndarray, ...]:
        feeds = {"seed": np.array(seed), "start": np.array(start), "count": np.array(count)}
        if label is not None:
            feeds["label"] = np.array(label).reshape(-1)
        return call(feeds)

    return draw


def bits(values: np.ndarray) -> np.ndarray:
    return values.view(np.uint32)


@pytest.mark.parametrize("prior", ["normal", "uniform"])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_latents_are_the_laws_to_the_bit_or_refused(runtime: str, prior: Any) -> None:
    draw = opened(runtime, graph(prior))
    for seed, start, count in NARROW + ([] if runtime == "openvino" else WIDE):
        picture, z, *_ = draw(seed, start, count)
        assert np.array_equal(bits(z), bits(latents.draw(seed, start, count, 100, prior))), (seed, start)
        assert picture.dtype == np.uint8
        assert len(picture) == count
    for seed, start, count in NEVER + (WIDE if runtime == "openvino" else []):
        with pytest.raises(Exception, match=REFUSAL):
            draw(seed, start, count)


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC"])
def test_no_level_of_optimization_changes_that(level: str) -> None:
    draw = opened("onnxruntime", graph(), level)
    assert np.array_equal(bits(draw(2**63 - 1, 2**40, 3)[1]), bits(latents.draw(2**63 - 1, 2**40, 3, 100)))
    with pytest.raises(Exception, match=REFUSAL):
        draw(-1, 0, 1)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_labels_are_given_random_or_all(runtime: str) -> None:
    draw = opened(runtime, graph(classes=10))
    for seed, start in [(0, 0), (7, 2**31 + 5), (2**32 - 300, 2**32 - 300)] + (
        [(2**63 - 1, 2**62 - 99)] if runtime == "onnxruntime" else []
    ):
        _, z, chosen = draw(seed, start, 50, RANDOM)
        assert np.array_equal(chosen, latents.labels(seed, start, 50, 10))
        assert np.array_equal(bits(z), bits(latents.draw(seed, start, 50, 100)))
        assert np.array_equal(draw(seed, start, 50, ALL)[2], (start + np.arange(50)) % 10)
    assert draw(0, 0, 3, 9)[2].tolist() == [9, 9, 9]
    assert draw(1, 0, 4, [3, ALL, 0, RANDOM])[2].tolist() == [3, 1, 0, latents.labels(1, 3, 1, 10)[0]]
    for wrong in (10, -3, 2**32, 2**32 + 1, -(2**32), [0, 10]):
        with pytest.raises(Exception, match=REFUSAL):
            draw(0, 0, 2, wrong)
    for count in (1, 2, 4):  # as many labels as pictures, or one; which node fails differs
        with pytest.raises(Exception, match=r"\w"):
            draw(0, 0, count, [0, 1, 2])


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_runtime_that_computes_other_words_is_refused(runtime: str) -> None:
    """Another constant in the graph stands for another arithmetic: the known row tells either."""
    model = graph()
    multipliers = [t for t in model.graph.initializer if t.name.startswith("law/") and list(t.dims) == [2, 1, 2, 1]]
    assert len(multipliers) == 2
    values = onnx.numpy_helper.to_array(multipliers[0]).copy()
    values[0, 0, 0, 0] += 1
    multipliers[0].CopyFrom(onnx.numpy_helper.from_array(values, multipliers[0].name))
    with pytest.raises(Exception, match=REFUSAL):
        opened(runtime, model)(0, 0, 1)


@pytest.mark.parametrize("nz", [1, 8, 9])
def test_any_latent_size(nz: int) -> None:
    z = opened("onnxruntime", graph(nz=nz))(3, 5, 4)[1]
    assert np.array_equal(bits(z), bits(latents.draw(3, 5, 4, nz)))
