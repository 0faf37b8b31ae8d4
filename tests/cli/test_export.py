"""gan-export as it is typed: what it prints, writes and refuses."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import stat
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from gan_export import exporters
from gan_export.pipeline import table
from tests.conftest import Artifacts, Command, each_format, refused


def test_an_export_lies_beside_its_checkpoint_under_its_stem(
    command: Command, classic_pth: Path, tmp_path: Path
) -> None:
    checkpoint = Path(shutil.copy(classic_pth, tmp_path))
    result = command("gan-export", "torchscript", checkpoint)
    assert result.code == 0, result
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "generator_20.pt", "generator_20.pt.report.json", "generator_20.pth",
    ]  # fmt: skip
    assert f"wrote {tmp_path / 'generator_20.pt'}" in result.out
    assert f"gan-sample {tmp_path / 'generator_20.pt'}" in result.out
    assert f"gan-bench {checkpoint}" in result.out
    assert "max error" in result.out
    lines = result.err.splitlines()
    assumed = [line for line in lines if line.startswith("assumed: ")]
    assert any("strides and paddings" in line for line in assumed)
    assert any(line.startswith("assumed: the last activation: tanh, instead of a sigmoid: ") for line in assumed)
    assert any(line.startswith("by evidence: ") and line.endswith("(--prior)") for line in lines)
    assert lines[-1].startswith("UNSETTLED")
    assert "the last activation" in lines[-1]
    flags = ("--prior", "normal", "--bn-eps", "1e-5", "--slope", "0", "--output", "tanh", "--image-size", "32")
    settled = command("gan-export", "torchscript", tmp_path / "generator_20.pth", *flags, "--strict")
    assert settled.code == 0
    assert "assumed" not in settled.err
    assert "UNSETTLED" not in settled.err


def test_a_failed_parity_exits_1_and_prints_the_table(command: Command, classic_pth: Path, tmp_path: Path) -> None:
    target = tmp_path / "g.pt"
    target.write_bytes(b"what was here")
    result = command("gan-export", "torchscript", classic_pth, "-o", target, "--max-error", "1e-12")
    assert result.code == 1
    assert "MISMATCH" in result.out
    assert "nothing was written" in result.err
    assert target.read_bytes() == b"what was here"
    assert [p.name for p in tmp_path.iterdir()] == ["g.pt"]


@pytest.mark.long
def test_all_says_what_it_wrote_and_what_it_left_out(
    command: Command, classic_pth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = tuple(exporters.find(name) for name in ("onnx", "openvino", "native"))
    monkeypatch.setattr(table, "EXPORTERS", three)  # the whole registry takes half a minute
    monkeypatch.setitem(sys.modules, "openvino", None)
    result = command("gan-export", "all", classic_pth, "-o", tmp_path / "out")
    assert result.code == 0, result
    names = {p.name for p in (tmp_path / "out").iterdir()}
    files = {"generator_20.onnx", "generator_20.gan"}
    assert names == files | {f"{name}.report.json" for name in files}
    assert all(name in result.out for name in files)
    assert "skipped: openvino not installed; pip install openvino" in result.out


def test_all_of_nothing_is_refused(
    command: Command, classic_pth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "EXPORTERS", tuple(exporters.find(name) for name in ("onnx", "native")))
    weights = torch.load(classic_pth, weights_only=True)
    next(w for w in weights.values() if w.ndim == 4)[0, 0, 0, 0] = float("nan")
    torch.save(weights, tmp_path / "nan.pth")
    result = command("gan-export", "all", tmp_path / "nan.pth", "-o", tmp_path / "out")
    assert result.code == 2
    assert "no format could be written" in result.err.splitlines()[-1]
    assert "RuntimeWarning" not in result.err
    assert result.out.count("draws NaN") == 2
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.long
def test_all_writes_every_format(
    command: Command, classic_pth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = tuple(exporter for exporter in exporters.EXPORTERS if exporter.core)  # the others compile and convert long
    monkeypatch.setattr(table, "EXPORTERS", core)
    result = command("gan-export", "all", classic_pth, "-o", tmp_path / "out")
    assert result.code == 0, result
    names = {p.name for p in (tmp_path / "out").iterdir()}
    for line in table.lines():
        name = f"generator_20{line.exporter.suffix}"
        assert (name in names) == line.available
        assert (name in result.out) == line.available


def test_list_names_every_exporter(command: Command) -> None:
    from gan_export.exporters import EXPORTERS

    result = command("gan-export", "list")
    assert result.code == 0
    assert all(e.name in result.out and e.suffix in result.out for e in EXPORTERS)


def test_verify_exits_0_or_1(command: Command, classic_pth: Path, artifacts: Artifacts, tmp_path: Path) -> None:
    assert command("gan-export", "verify", artifacts["onnx"]).code == 0
    state = torch.load(classic_pth)
    state["model.0.weight"] *= 1.01
    torch.save(state, tmp_path / "other.pth")
    result = command("gan-export", "verify", artifacts["onnx"], tmp_path / "other.pth")
    assert result.code == 1
    assert "DOES NOT MATCH" in result.out
    assert "not an export" in refused(command("gan-export", "verify", classic_pth))


@pytest.mark.long
def test_verify_reads_the_checkpoint_as_it_was_exported(
    command: Command, classic_pth: Path, artifacts: Artifacts, tmp_path: Path
) -> None:
    target, flags = tmp_path / "g.onnx", ("--slope", "0.3", "--bn-eps", "0.01", "--output", "sigmoid")
    assert command("gan-export", "onnx", classic_pth, "-o", target, *flags).code == 0
    result = command("gan-export", "verify", target, classic_pth)
    assert result.code == 0, result
    assert "note: read with --bn-eps 0.01 --slope 0.3 --output sigmoid, the flags in its manifest" in result.err
    assert command("gan-export", "verify", target, classic_pth, *flags).err.count("note: ") == 0
    result = command("gan-export", "verify", target, classic_pth, "--slope", "0.2")
    assert result.code == 1
    assert "note: it was exported with --bn-eps 0.01" in result.err
    assert "note" not in command("gan-export", "verify", artifacts["onnx"], classic_pth).err


def test_a_flag_that_says_nothing_of_an_export_is_refused(command: Command, artifacts: Artifacts) -> None:
    assert "leave out --slope 0.2" in refused(command("gan-export", "inspect", artifacts["onnx"], "--slope", "0.2"))
    assert "--raw describes a checkpoint" in refused(command("gan-export", "verify", artifacts["onnx"], "--raw"))


def test_inspect_says_what_a_checkpoint_is(command: Command, classic_pth: Path) -> None:
    result = command("gan-export", "inspect", classic_pth, "--json")
    data = json.loads(result.out)
    assert data["signature"]["inputs"][0]["shape"] == [100]
    assert data["signature"]["outputs"][0]["shape"] == [1, 32, 32]
    state = torch.load(classic_pth)
    used = sum(v.numel() for k, v in state.items() if "num_batches" not in k)
    assert data["parameters"] == used
    assert {a["option"] for a in data["assumed"]} >= {"output"}
    assert {a["option"] for a in data["assumed"] + data["evidence"]} >= {"bn_eps", "slope", "output", "prior"}
    assert "model.1.num_batches_tracked" in data["ignored"]
    text = command("gan-export", "inspect", classic_pth).out
    assert "image, 1 x 32 x 32, in [-1, 1]" in text
    assert f"{used:,}" in text
    assert text.splitlines()[-1] == f"  gan-export onnx {classic_pth}"


@each_format
def test_inspect_prints_an_artifacts_manifest(
    command: Command, classic_pth: Path, artifacts: Artifacts, name: str
) -> None:
    data = json.loads(command("gan-export", "inspect", artifacts[name], "--json").out)
    assert data["format"] == name
    assert data["signature"]["inputs"][0]["shape"] == [100]
    assert data["source_sha256"] == hashlib.sha256(classic_pth.read_bytes()).hexdigest()
    assert data["references"]
    shown = command("gan-export", "inspect", artifacts[name]).out
    assert "latent, float32 (N, 100)" in shown
    assert data["source_sha256"] in shown


class Discriminator(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 32, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(32, 64, 4, 2, 1), nn.BatchNorm2d(64),
            nn.LeakyReLU(0.2), nn.Conv2d(64, 1, 8), nn.Sigmoid(),
        )  # fmt: skip


def bad_file(kind: str, folder: Path, good: Path) -> Path:
    path = folder / "bad.pth"
    match kind:
        case "empty":
            path.write_bytes(b"")
        case "cut off":
            path.write_bytes(good.read_bytes()[:-1000])
        case "text":
            path.write_text("epoch 1 loss 0.3\n" * 50)
        case "discriminator":
            torch.save(Discriminator().state_dict(), path)
        case "zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("hello.txt", "hello")
        case "folder":
            path.mkdir()
        case "missing":
            pass
        case "unreadable":
            shutil.copy(good, path)
            path.chmod(0)
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "bad.pth"),
        ("empty", "empty"),
        ("cut off", "cut"),
        ("text", "bad.pth"),
        ("discriminator", "discriminator"),
        ("zip", "bad.pth"),
        ("folder", "bad.pth"),
        ("unreadable", "bad.pth"),
    ],
)
def test_a_bad_file_is_one_line_and_nothing_written(
    command: Command, classic_pth: Path, tmp_path: Path, kind: str, message: str
) -> None:
    if kind == "unreadable" and os.geteuid() == 0:
        pytest.skip("root reads everything")
    path = bad_file(kind, tmp_path, classic_pth)
    assert message in refused(command("gan-export", "onnx", path)).lower()
    assert [p for p in tmp_path.iterdir() if p != path] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("onx",), "did you mean onnx"),
        (("onnx", "--opset", "3"), "opset 3"),
        (("onnx", "--method", "trace"), "has no option method"),
        (("torchscript", "--method", "guess"), "guess"),
        (("onnx", "--precision", "fp7"), "fp7"),
        (("onnx", "-o", "no/such/g.onnx"), "not a folder"),
        (("onnx", "--arch", "dcgn"), "dcgan"),
        (("onnx", "--prior", "cauchy"), "--prior cauchy"),
        (("onnx", "--recalibrate", "0"), "--recalibrate 0"),
    ],
)
def test_bad_words_are_one_line(
    command: Command, classic_pth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    checkpoint = Path(shutil.copy(classic_pth, tmp_path))
    assert message in refused(command("gan-export", arguments[0], checkpoint, *arguments[1:]))
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.name]


@pytest.mark.skipif(sys.platform == "win32", reason="rights are kept otherwise there")
def test_a_folder_without_the_right_to_write_is_refused(command: Command, classic_pth: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert "no permission" in refused(command("gan-export", "onnx", classic_pth, "-o", tmp_path / "g.onnx"))
    finally:
        tmp_path.chmod(stat.S_IRWXU)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full here")
def test_a_full_target_is_refused(command: Command, artifacts: Artifacts, tmp_path: Path) -> None:
    """A file system of 64 KiB, where this user may mount one; a picture folder on it otherwise stays untested."""
    small = tmp_path / "small"
    small.mkdir()
    if os.system(f"mount -t tmpfs -o size=64k tmpfs {small} 2>/dev/null") != 0:
        pytest.skip("no right to mount a small file system")
    try:
        line = refused(command("gan-sample", artifacts["onnx"], "-n", 500, "-o", small / "x.npy"))
        assert "No space left" in line
        assert not list(small.iterdir())
    finally:
        os.system(f"umount {small}")


@pytest.mark.parametrize(
    ("name", "others", "arguments", "message"),
    [
        ("pytorch_model.bin", (), ("openvino",), "pytorch_model.bin is the checkpoint itself"),
        ("model.bin", (), ("openvino", "-o", "model.xml"), "model.bin is the checkpoint itself"),
        ("g.pth", ("g.bin",), ("openvino",), "g.bin already exists, and g.xml"),
        ("g.pth", ("g.onnx.data",), ("onnx", "--external-data"), "g.onnx.data already exists, and g.onnx"),
        ("g.pth", (), ("torchscript", "-o", "g.pth"), "g.pth is the checkpoint itself"),
        ("g.pth", (), ("onnx", "-o", "link.onnx"), "link.onnx is the checkpoint itself"),
        ("g.onnx.report.json", (), ("onnx", "-o", "g.onnx"), "g.onnx.report.json is the checkpoint itself"),
    ],
)
def test_nothing_that_is_no_export_is_written_over(
    command: Command, classic_pth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str,
    others: tuple[str, ...], arguments: tuple[str, ...], message: str,
) -> None:  # fmt: skip
    if arguments[0] == "openvino" and importlib.util.find_spec("openvino") is None:
        pytest.skip("OpenVINO isn't installed")
    monkeypatch.chdir(tmp_path)
    shutil.copy(classic_pth, name)
    for other in others:
        Path(other).write_bytes(b"something else")
    if "link.onnx" in arguments:
        Path("link.onnx").symlink_to(name)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    format, *rest = arguments
    assert message in refused(command("gan-export", format, name, *rest))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.long
def test_a_folder_of_weights_keeps_them(
    command: Command, classic_pth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    folder = tmp_path / "mine"
    folder.mkdir()
    shutil.copy(classic_pth, folder / "pytorch_model.bin")
    monkeypatch.chdir(folder)
    assert "is the checkpoint itself" in refused(command("gan-export", "openvino", ".", "-o", "pytorch_model.xml"))
    assert command("gan-export", "onnx", ".").code == 0
    assert {p.name for p in folder.iterdir()} == {"pytorch_model.bin", "mine.onnx", "mine.onnx.report.json"}


@pytest.mark.long
def test_another_checkpoint_of_the_default_name_is_kept(command: Command, classic_pth: Path, tmp_path: Path) -> None:
    checkpoint, other = tmp_path / "g.pth", tmp_path / "g.pt"
    shutil.copy(classic_pth, checkpoint)
    shutil.copy(classic_pth, other)
    assert command("gan-export", "torchscript", checkpoint).code == 0
    assert other.read_bytes() == classic_pth.read_bytes()
    assert (tmp_path / "g.exported.pt").is_file()


@pytest.mark.long
def test_a_second_run_replaces_what_the_first_wrote(
    command: Command, classic_pth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "EXPORTERS", tuple(exporters.find(name) for name in ("c", "native")))
    checkpoint, out = tmp_path / "g.pth", tmp_path / "out"
    state = torch.load(classic_pth)
    made = []
    for _ in range(2):
        torch.save(state, checkpoint)
        assert command("gan-export", "all", checkpoint, "-o", out).code == 0
        made.append({p.name: p.read_bytes() for p in out.rglob("*") if p.is_file()})
        state["model.0.weight"] *= 1.01
    assert made[0].keys() == made[1].keys()
    assert made[0]["generator.weights"] != made[1]["generator.weights"]
    assert {p.name for p in out.iterdir()} == {"g-c", "g-c.report.json", "g.gan", "g.gan.report.json"}
    (out / "g-c" / "main.c").write_text("int main(void) { return 0; }\n")
    result = command("gan-export", "all", checkpoint, "-o", out)
    assert result.code == 2
    assert "main.cisn'tasitwasexported" in re.sub(r"\s", "", result.out)  # in a table, whose cells are folded
    assert "1 formats could not be written" in result.err
    assert (out / "g-c" / "main.c").is_file()
