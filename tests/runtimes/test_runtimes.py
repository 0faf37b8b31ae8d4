"""Test that every installed runtime loads its file and generates the reference's images.

Others state why they can't.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from gan_export import checkpoint, latents
from gan_export.checkpoint.exportable import prepare
from gan_export.errors import GanExportError, UnavailableError
from gan_export.exporters import EXPORTERS
from gan_export.exporters.base import unavailable_reason
from gan_export.formats import tolerance
from gan_export.runtimes import RUNTIMES, find
from gan_export.runtimes.base import Runtime, run_latents
from gan_export.runtimes.cuda import device_count
from gan_export.runtimes.onnxruntime import captured_stderr, check_provider
from gan_export.verification import compare
from tests.conftest import latent_image

SLOW = ("compile-autotune",)  # tunes for a minute and runs the same code path as compile
BUILT = ("compile", *(e.runtime for e in EXPORTERS if not e.core))  # these wait for a compiler or a converter
NARROWER = ("compile-bf16",)  # tests/bench judges it by the tolerance of its precision
ON_CPU = [r for r in RUNTIMES if "cpu" in r.devices and r.name not in SLOW + NARROWER and r.format not in ("gan", "c")]


@pytest.mark.parametrize(
    "runtime",
    [pytest.param(r, marks=pytest.mark.long) if r.name in BUILT else r for r in ON_CPU],
    ids=lambda r: r.name,
)
def test_generates_the_reference_images(runtime: Runtime, files: dict[str, Path]) -> None:
    if not runtime.availability().ok:
        pytest.skip(runtime.availability().reason)
    if why := next((unavailable_reason(e) for e in EXPORTERS if e.runtime == runtime.name), ""):
        pytest.skip(why)
    read = checkpoint.read(files["checkpoint"])
    z = latents.draw(3, 0, 5, latent_image(read.spec).nz)
    wanted = prepare(read).run({"z": z}).exact
    session = runtime.load(files[runtime.format], threads=1)
    try:
        assert (session.info.runtime, session.info.device, session.info.precision) == (runtime.name, "cpu", "fp32")
        got = run_latents(session, z)
        assert got.dtype == np.float32
        assert compare.compare_batch(
            {"image": got}, wanted, read.signature, tolerance.rule("checkpoint", "fp32").given()
        ).passed
        bound = session.bind({"z": z})
        bound()
        np.testing.assert_allclose(bound.outputs()["image"], got, atol=1e-6)
        assert run_latents(session, z[:1]).shape == (1, 1, 32, 32)
    finally:
        session.close()
        session.close()
    with pytest.raises(GanExportError, match="closed"):
        run_latents(session, z)


def test_images_belong_to_the_caller(files: dict[str, Path]) -> None:
    for name in ("eager", "torchscript", "onnxruntime", "openvino"):
        runtime = find(name)
        if not runtime.availability().ok:
            continue
        session = runtime.load(files[runtime.format], threads=1)
        first = run_latents(session, np.ones((2, 10), np.float32))
        before = first.copy()
        run_latents(session, np.full((2, 10), -1, np.float32))
        assert np.array_equal(first, before), name
        session.close()


def test_listing_the_runtimes_imports_none_of_them() -> None:
    code = (
        "import sys; from gan_export.runtimes import RUNTIMES; "
        "[r.availability() for r in RUNTIMES]; "
        "print([m for m in ('torch', 'onnxruntime', 'openvino') if m in sys.modules])"
    )
    assert _python(code).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("package", "install"),
    [("onnxruntime", "'gan-export[onnx]'"), ("openvino", "openvino"), ("torch", "'gan-export[torch]'")],
)
def test_a_missing_package_is_named_with_its_install_line(package: str, install: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from gan_export.runtimes import RUNTIMES\n"
        "print('; '.join(r.availability().reason for r in RUNTIMES))"
    )
    assert f"pip install {install}" in _python(code).stdout


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(GanExportError, match="did you mean onnxruntime"):
        find("onnxruntim")


@pytest.mark.skipif(device_count() > 0, reason="this machine has a CUDA device")
@pytest.mark.parametrize("name", [r.name for r in RUNTIMES if "cuda" in r.devices])
def test_without_a_device_cuda_is_one_clear_line(name: str, files: dict[str, Path]) -> None:
    runtime = find(name)
    if runtime.format not in files:
        pytest.skip(f"no {runtime.format} file")
    with pytest.raises(UnavailableError) as e:
        runtime.load(files[runtime.format], device="cuda")
    assert "cuda" in str(e.value).lower()
    assert "\n" not in str(e.value)


@pytest.mark.skipif(device_count() > 0, reason="this machine has a CUDA device")
def test_onnxruntime_says_nothing_of_its_own(files: dict[str, Path]) -> None:
    code = (
        "from pathlib import Path; from gan_export.runtimes import find\n"
        "r = find('onnxruntime'); r.availability('cuda')\n"
        f"r.load(Path({str(files['onnx'])!r}), threads=1)"
    )
    done = _python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_provider_that_fell_back_is_an_error() -> None:
    with pytest.raises(UnavailableError, match="fell back from CUDAExecutionProvider to CPUExecutionProvider"):
        check_provider(["CPUExecutionProvider"], "cuda", ["libcuda.so.1: no such file"])
    check_provider(["CUDAExecutionProvider", "CPUExecutionProvider"], "cuda", [])


def test_what_a_library_writes_to_descriptor_2_is_caught(capfd: pytest.CaptureFixture[str]) -> None:
    import os

    with captured_stderr() as lines:
        os.write(2, b"noise\n")
    os.write(2, b"heard\n")
    assert lines == ["noise"]
    assert capfd.readouterr().err == "heard\n"


@pytest.mark.parametrize("name", ["eager", "torchscript", "onnxruntime", "openvino"])
@pytest.mark.parametrize(
    "content", [None, b"", b"\x08\x07no model", b"PK\x03\x04 cut off"], ids=["missing", "empty", "text", "cut"]
)
def test_a_bad_file_is_one_line(name: str, content: bytes | None, tmp_path: Path) -> None:
    runtime = find(name)
    if not runtime.availability().ok:
        pytest.skip(runtime.availability().reason)
    path = tmp_path / "bad.bin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GanExportError) as e:
        runtime.load(path, threads=1)
    assert "bad.bin" in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_labels_and_bytes(name: str, tmp_path: Path) -> None:
    """A graph with labels returns bytes: each row's byte is its label."""
    runtime = find(name)
    if not runtime.availability().ok:
        pytest.skip(runtime.availability().reason)
    path = tmp_path / "labels.onnx"
    _labeled_graph(path)
    session = runtime.load(path, threads=1)
    z = np.zeros((3, 4), np.float32)
    assert session.info.output == "bytes"
    got = run_latents(session, z, np.array([7, 0, 9]))
    assert got.dtype == np.uint8
    assert got.shape == (3, 1, 1, 1)
    assert got.ravel().tolist() == [7, 0, 9]
    with pytest.raises(GanExportError, match="this model has the inputs z, label"):
        run_latents(session, z)


@pytest.mark.parametrize("name", ["eager", "onnxruntime"])
@pytest.mark.parametrize("shape", [(0, 10), (10,), (2, 7)])
def test_latents_that_do_not_fit_are_refused(name: str, shape: tuple[int, ...], files: dict[str, Path]) -> None:
    runtime = find(name)
    session = runtime.load(files[runtime.format], threads=1)
    with pytest.raises(GanExportError):
        run_latents(session, np.zeros(shape, np.float32))


def _labeled_graph(path: Path) -> None:
    node = [
        helper.make_node("Cast", ["label"], ["small"], to=TensorProto.UINT8),
        helper.make_node("Reshape", ["small", "shape"], ["image"]),
        helper.make_node("Identity", ["z"], ["unused"]),
    ]
    graph = helper.make_graph(
        node,
        "g",
        [
            helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 4]),
            helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
        ],
        [
            helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 1, 1, 1]),
            helper.make_tensor_value_info("unused", TensorProto.FLOAT, ["n", 4]),
        ],
        [helper.make_tensor("shape", TensorProto.INT64, [4], [-1, 1, 1, 1])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_a_graph_without_inputs_is_refused(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    zeros = helper.make_tensor("zeros", TensorProto.FLOAT, (1, 1, 4, 4), np.zeros(16))
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["image"], value=zeros)],
        "g",
        [],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 1, 4, 4))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "g.onnx")
    openvino.save_model(openvino.convert_model(tmp_path / "g.onnx"), tmp_path / "g.xml")
    for name, file in (("onnxruntime", "g.onnx"), ("openvino", "g.onnx"), ("openvino-ir", "g.xml")):
        with pytest.raises(GanExportError, match="a graph without inputs or without outputs"):
            find(name).load(tmp_path / file)


def test_openvinos_report_of_use_is_off(files: dict[str, Path]) -> None:
    """Run in a fresh process, because the first import of OpenVINO decides."""
    pytest.importorskip("openvino")
    code = (
        "import sys; from pathlib import Path; from gan_export.runtimes import find; "
        "find('openvino-ir').load(Path(sys.argv[1])); "
        "print(sys.modules.get('openvino_telemetry', 'absent'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, files["openvino"]], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "None"), done.stderr
