"""ONNX in its other forms: narrower numbers, a fixed batch, weights in a second file, and files that mean harm."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from torch import nn

from gan_export import checkpoint, exporters, latents
from gan_export.checkpoint.exportable import prepare
from gan_export.errors import CheckFailedError, GanExportError, HostileFileError
from gan_export.exporters.base import Options, write
from gan_export.exporters.onnx import graph as onnx_export
from gan_export.exporters.onnx import int8
from gan_export.formats import manifest, tolerance
from gan_export.formats.base import manifest_path
from gan_export.formats.protobuf import check_external_data, external_files
from gan_export.pipeline import publish
from gan_export.runtimes.base import run_latents
from gan_export.runtimes.onnxruntime import ONNXRUNTIME
from gan_export.verification import compare
from tests.conftest import (
    Artifacts,
    ClassicGenerator,
    Command,
    each_format,
    error_lines,
    latent_image,
    lively,
    refused,
)

ONNX = exporters.find("onnx")


@pytest.fixture(scope="module")
def wide_pth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wide enough that weights, and not the manifest's pictures, are most of the file."""
    path = tmp_path_factory.mktemp("wide") / "wide.pth"
    torch.save(lively(ClassicGenerator(width=128)).state_dict(), path)
    return path


def graph_inputs(path: Path) -> list[tuple[str, list[object], str]]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [(i.name, i.shape, i.type) for i in [*session.get_inputs(), *session.get_outputs()]]


@pytest.mark.long
def test_fp16_halves_the_file_and_keeps_the_pictures(wide_pth: Path, tmp_path: Path) -> None:
    read = checkpoint.read(wide_pth)
    full = tmp_path / "full.onnx"
    ONNX.write(read, full, Options())
    shipped = publish.export(read, ONNX, tmp_path / "half.onnx", Options(precision="fp16"))
    assert min(row.psnr for row in shipped.report.rows) >= 45
    assert shipped.size <= 0.52 * full.stat().st_size
    assert graph_inputs(shipped.path) == [
        ("z", ["N", 100], "tensor(float)"), ("image", ["N", 1, 32, 32], "tensor(float)"),
    ]  # fmt: skip
    narrow = tmp_path / "narrow.onnx"
    manifest = ONNX.write(read, narrow, Options(precision="fp16", fp16_io=True))
    assert [kind for _, _, kind in graph_inputs(narrow)] == ["tensor(float16)", "tensor(float16)"]
    session = ONNXRUNTIME.load(narrow)
    rule = tolerance.rule("onnx", "fp16")
    report = compare.compare(session, prepare(read), manifest.signature, rule, batches=(3,))
    session.close()
    assert report.passed


@pytest.mark.long
def test_int8_is_judged_and_says_what_it_kept(wide_pth: Path, tmp_path: Path) -> None:
    read = checkpoint.read(wide_pth)
    full = tmp_path / "full.onnx"
    ONNX.write(read, full, Options())
    shipped = publish.export(read, ONNX, tmp_path / "g.onnx", Options(precision="int8"))
    assert shipped.report.session.precision == "int8"
    assert min(row.psnr for row in shipped.report.rows) >= 28
    assert shipped.size < 0.5 * full.stat().st_size
    assert shipped.quality is not None
    assert shipped.quality.row.psnr >= 28
    assert shipped.quality.frechet is not None
    assert 0 <= shipped.quality.frechet < 5  # other digits' weights are tens away
    report = json.loads(manifest.report_path(shipped.path).read_text())
    assert report["quality"]["frechet"] == shipped.quality.frechet
    model = onnx.load(shipped.path)
    kinds = {t.data_type for t in model.graph.initializer if t.name.endswith("weight_quantized")}
    assert kinds == {onnx.TensorProto.INT8}
    axes = {a.i for n in model.graph.node if n.op_type == "DequantizeLinear" for a in n.attribute if a.name == "axis"}
    assert axes  # a scale for each channel, not one for a whole weight
    again = tmp_path / "again.onnx"
    write(ONNX, read, again, Options(precision="int8"))
    assert again.read_bytes() == shipped.path.read_bytes()


@pytest.mark.long
def test_sensitive_layers_stay_float32(classic_pth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = checkpoint.read(classic_pth)
    manifest = ONNX.write(read, tmp_path / "all.onnx", Options(precision="int8"))
    assert "kept_fp32" not in manifest.options
    session = ONNXRUNTIME.load(tmp_path / "all.onnx")
    reference = prepare(read)
    rule = tolerance.rule("onnx", "int8")
    reached = compare.compare(session, reference, manifest.signature, rule, batches=(64,)).rows[0].psnr
    session.close()
    monkeypatch.setattr(int8, "MIN_PSNR_DB", reached + 1.0)
    manifest = ONNX.write(read, tmp_path / "g.onnx", Options(precision="int8"))
    kept = manifest.options["kept_fp32"]
    model = onnx.load(tmp_path / "g.onnx")
    names = {t.name for t in model.graph.initializer}
    weights = {"convt0", "convt1", "convt2", "convt3"}
    assert 0 < len(kept) < 4
    assert {name for name in weights if f"{name}.weight" in names} == set(kept)
    assert {name for name in weights if f"{name}.weight_quantized" in names} == weights - set(kept)


@pytest.mark.parametrize(
    "options",
    [
        Options(output="bytes"),
        pytest.param(Options(output="bytes", precision="fp16"), marks=pytest.mark.long),
        pytest.param(Options(precision="int8"), marks=pytest.mark.long),
        pytest.param(Options(sampler=True), marks=pytest.mark.long),
    ],
)
def test_the_models_own_range_makes_the_right_bytes(
    classic: nn.Module, classic_pth: Path, tmp_path: Path, options: Options
) -> None:
    """--raw with a sigmoid: values in [0, 1], of which bytes use the whole scale."""
    read = checkpoint.read(classic_pth, checkpoint.ReadOptions(output="sigmoid", raw=True))
    assert latent_image(read.spec).range == (0.0, 1.0)
    shipped = publish.export(read, ONNX, tmp_path / "g.onnx", options)
    assert shipped.report is not None
    assert shipped.report.passed
    if options.output == "bytes" and options.precision == "fp32":
        z = latents.draw(0, 0, 5, 100)
        session = onnxruntime.InferenceSession(str(shipped.path), providers=["CPUExecutionProvider"])
        (got,) = session.run(None, {"z": z})
        with torch.no_grad():
            values = torch.sigmoid(torch.atanh(classic(torch.from_numpy(z)[:, :, None, None]).double()))
        wanted = np.clip(np.floor((values.numpy() * 2 - 1) * 127.5 + 128), 0, 255).transpose(0, 2, 3, 1)
        assert np.abs(got.astype(int) - wanted).max() <= 1
        assert np.ptp(got) > 128


def test_a_fixed_batch_draws_any_number_of_the_same_pictures(
    classic: nn.Module, classic_pth: Path, tmp_path: Path
) -> None:
    shipped = publish.export(checkpoint.read(classic_pth), ONNX, tmp_path / "g.onnx", Options(static=4))
    assert shipped.report.passed
    assert [shape for _, shape, _ in graph_inputs(shipped.path)] == [[4, 100], [4, 1, 32, 32]]
    session = ONNXRUNTIME.load(shipped.path)
    z = latents.draw(0, 0, 10, 100)
    got = run_latents(session, z)
    session.close()
    with torch.no_grad():
        assert np.abs(got - classic(torch.from_numpy(z)[:, :, None, None]).numpy()).max() < 2e-5


@pytest.mark.parametrize("asked", [True, pytest.param(False, marks=pytest.mark.long)])
def test_weights_in_a_second_file(
    classic_pth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    if not asked:
        monkeypatch.setattr(onnx_export, "LARGEST_INLINE", 1000)  # 2 GB of weights are too many for a test
    shipped = publish.export(checkpoint.read(classic_pth), ONNX, tmp_path / "g.onnx", Options(external_data=asked))
    assert external_files(shipped.path) == ("g.onnx.data",)
    assert shipped.path.stat().st_size < (tmp_path / "g.onnx.data").stat().st_size
    assert shipped.size == shipped.path.stat().st_size + (tmp_path / "g.onnx.data").stat().st_size
    assert publish.verify(shipped.path).passed
    data = bytearray((tmp_path / "g.onnx.data").read_bytes())
    data[40000:80000] = np.frombuffer(data[80000:120000], np.float32).__neg__().tobytes()
    (tmp_path / "g.onnx.data").write_bytes(data)
    with pytest.raises(CheckFailedError, match="contents have changed"):
        publish.verify(shipped.path)
    assert not publish.verify(shipped.path, checkpoint.read(classic_pth)).passed
    (tmp_path / "g.onnx.data").unlink()
    with pytest.raises(GanExportError, match="which is missing"):
        publish.verify(shipped.path)


def outside(folder: Path, location: str, *, where: str = "initializer") -> Path:
    """A model with weights at `location`, in its graph or in a constant of a branch."""
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    image = helper.make_tensor_value_info("image", 1, [4])
    if where == "initializer":
        graph = helper.make_graph([helper.make_node("Identity", ["w"], ["image"])], "g", [], [image], [tensor])
    else:
        branch = helper.make_graph([helper.make_node("Constant", [], ["image"], value=tensor)], "b", [], [image])
        choose = helper.make_node("If", ["c"], ["image"], then_branch=branch, else_branch=branch)
        graph = helper.make_graph([choose], "g", [helper.make_tensor_value_info("c", 9, [])], [image])
    path = folder / "model.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())
    return path


@pytest.mark.parametrize("where", ["initializer", "branch"])
@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../secret", "sub/../../secret", "C:\\secret", "..\\secret", "link"]
)
def test_weights_outside_the_folder_are_refused(tmp_path: Path, location: str, where: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(16))
    folder = tmp_path / "model"
    folder.mkdir()
    if location == "link":
        (folder / "link").symlink_to(tmp_path / "secret")
    path = outside(folder, location, where=where)
    with pytest.raises(HostileFileError, match="refused"):
        check_external_data(path)
    with pytest.raises(HostileFileError, match="refused"):
        ONNXRUNTIME.load(path)


def test_weights_beside_the_file_are_taken(tmp_path: Path) -> None:
    path = outside(tmp_path, "weights")
    with pytest.raises(GanExportError, match="missing"):
        check_external_data(path)
    (tmp_path / "weights").write_bytes(bytes(16))
    check_external_data(path)


@pytest.mark.long
def test_per_layer_names_the_layer_that_was_changed(
    command: Command, classic_pth: Path, artifacts: Artifacts, tmp_path: Path
) -> None:
    result = command("gan-export", "verify", artifacts["onnx"], classic_pth, "--per-layer")
    assert result.code == 0
    assert "layers match the checkpoint" in result.out
    model = onnx.load(artifacts["onnx"])
    tensor = next(t for t in model.graph.initializer if t.name == "convt2.weight")
    values = onnx.numpy_helper.to_array(tensor).copy()
    values[0] += 0.5
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, tmp_path / "g.onnx")
    result = command("gan-export", "verify", tmp_path / "g.onnx", classic_pth, "--per-layer")
    assert result.code == 1
    assert "first wrong layer: convt2" in result.out
    assert "not an ONNX file" in refused(
        command("gan-export", "verify", artifacts["torchscript"], classic_pth, "--per-layer")
    )
    assert "name the checkpoint" in refused(command("gan-export", "verify", artifacts["onnx"], "--per-layer"))


@each_format
def test_a_truncated_artifact_is_one_line(command: Command, artifacts: Artifacts, tmp_path: Path, name: str) -> None:
    path = artifacts[name]
    for beside in (path.with_suffix(".bin"), manifest_path(path)):
        if beside.is_file():
            shutil.copy(beside, tmp_path)
    cut = tmp_path / path.name
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    result = command("gan-export", "verify", cut)
    if result.code == 1:  # the manifest survived, and its hash is of other contents
        assert "have changed since the export" in result.err
        assert len(error_lines(result.err)) == 1
        return
    assert path.name in refused(result)


def test_options_that_exclude_each_other(classic_pth: Path, tmp_path: Path) -> None:
    read = checkpoint.read(classic_pth)
    for options, message in (
        (Options(fp16_io=True), "precision=fp16"),
        (Options(static=0), "at least 1"),
        (Options(static=2, precision="int8"), "can't be combined"),
        (Options(static=2, sampler=True), "can't be combined"),
        (Options(precision="fp16", sampler=True), "can't be combined"),
        (Options(precision="fp16", fp16_io=True, output="bytes"), "can't be combined"),
    ):
        with pytest.raises(GanExportError, match=message):
            publish.export(read, ONNX, tmp_path / "g.onnx", options)
    assert not os.listdir(tmp_path)
