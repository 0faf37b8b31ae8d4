"""Export, prove, publish: what lies on disk after each outcome, and that it draws the same pictures."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from gan_export import checkpoint, exporters, images, latents
from gan_export.checkpoint.exportable import PreparedGenerator, known_layers
from gan_export.errors import CheckFailedError, GanExportError, UnavailableError
from gan_export.exporters.base import Options, unavailable_reason
from gan_export.formats import manifest as manifests
from gan_export.formats.base import KEY
from gan_export.pipeline import publish
from gan_export.verification.compare import ParityError
from tests.conftest import ROOT, Artifacts, ExamplesGenerator, each_format, latent_image, lively


def test_onnx_draws_the_modules_pictures_in_plain_onnxruntime(classic: nn.Module, artifacts: Artifacts) -> None:
    session = onnxruntime.InferenceSession(str(artifacts["onnx"]), providers=["CPUExecutionProvider"])
    assert [(i.name, i.shape) for i in session.get_inputs()] == [("z", ["N", 100])]
    assert [(o.name, o.shape) for o in session.get_outputs()] == [("image", ["N", 1, 32, 32])]
    for n in (1, 3, 17):
        z = latents.draw(0, n, n, 100)
        (got,) = session.run(None, {"z": z})
        with torch.no_grad():
            wanted = classic(torch.from_numpy(z)[:, :, None, None]).numpy()
        assert np.abs(got - wanted).max() < 2e-5
        assert wanted.std() > 0.2  # pictures, not a grey nothing that anything equals


@pytest.mark.long
def test_torchscript_loads_without_our_package(classic: nn.Module, artifacts: Artifacts, tmp_path: Path) -> None:
    z = torch.from_numpy(latents.draw(0, 0, 5, 100))
    torch.save(z, tmp_path / "z.pt")
    program = (
        "import sys, torch; module = torch.jit.load(sys.argv[1]); z = torch.load(sys.argv[2]); y = module(z); "
        "assert torch.equal(y, module(z[:, :, None, None])); torch.save(y, sys.argv[3]); "
        "assert not any(name.startswith('gan_export') for name in sys.modules)"
    )
    arguments = [str(artifacts["torchscript"]), "z.pt", "y.pt"]
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, *arguments], cwd=tmp_path, check=True)
    with torch.no_grad():
        assert (torch.load(tmp_path / "y.pt") - classic(z[:, :, None, None])).abs().max() < 2e-5


def test_the_onnx_file_is_readable_and_says_what_it_is(classic_pth: Path, artifacts: Artifacts) -> None:
    model = onnx.load(artifacts["onnx"])
    onnx.checker.check_model(model, full_check=True)
    assert "BatchNormalization" not in {n.op_type for n in model.graph.node}
    assert {"convt0.weight", "convt0.bias", "convt3.weight"} <= {t.name for t in model.graph.initializer}
    assert {"convt0", "relu0", "tanh"} <= {n.name for n in model.graph.node}
    manifest = manifests.read_manifest(artifacts["onnx"], "onnx")
    assert manifest is not None
    assert manifest.source_sha256 == hashlib.sha256(classic_pth.read_bytes()).hexdigest()
    assert manifest.signature.output("image").shape == (1, 32, 32)
    assert manifest.latent_law == latents.LAW
    keys = {p.key for p in model.metadata_props}
    assert {"gan-export.architecture", "gan-export.z", "gan-export.source_sha256", KEY} <= keys


def test_the_reference_pictures_are_the_float64_ones(classic: nn.Module, artifacts: Artifacts) -> None:
    for name, kind in (("onnx", "onnx"), ("torchscript", "torchscript")):
        manifest = manifests.read_manifest(artifacts[name], kind)  # type: ignore[arg-type]
        assert manifest is not None
        (z,) = manifest.signature.feeds(manifests.REFERENCE_SEED, range(8)).values()
        with torch.no_grad():
            wanted = classic.double()(torch.from_numpy(z).double()[:, :, None, None]).numpy()
        classic.float()
        held = manifest.reference_values()
        assert (held.images, held.step, len(held.values)) == (8, 1, 8 * 32 * 32)
        assert np.abs(held.values - held.of(wanted)).max() <= 2.0**-21 + 1e-7


@each_format
def test_the_report_beside_holds_what_was_measured(artifacts: Artifacts, name: str) -> None:
    path = artifacts[name]
    report = json.loads(manifests.report_path(path).read_text())
    assert report["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report["parity"]["passed"] is True
    assert {row["batch"] for row in report["parity"]["rows"]} >= {1, 2}
    worst = max(row["max_abs"] for row in report["parity"]["rows"])
    assert 0 < worst < 2e-5 or (worst == 0 and name == "safetensors")  # the same layers in PyTorch


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("torchscript", Options(method="trace"), marks=pytest.mark.long),  # so are the samplers' two
        pytest.param("torchscript", Options(method="script"), marks=pytest.mark.long),
        ("torchscript", Options(output="bytes")),
        ("onnx", Options(output="bytes", opset=21)),
    ],
)
def test_every_option_is_proven_too(
    classic: nn.Module, classic_pth: Path, tmp_path: Path, name: str, options: Options
) -> None:
    exporter = exporters.find(name)
    shipped = publish.export(checkpoint.read(classic_pth), exporter, tmp_path / f"g{exporter.suffix}", options)
    assert shipped.report.passed
    if name == "onnx":
        assert onnx.load(shipped.path).opset_import[0].version == 21
    if options.output == "bytes":
        z = latents.draw(3, 0, 4, 100)
        with torch.no_grad():
            wanted = images.to_bytes(classic(torch.from_numpy(z)[:, :, None, None]).numpy())
        if name == "onnx":
            session = onnxruntime.InferenceSession(str(shipped.path), providers=["CPUExecutionProvider"])
            (got,) = session.run(None, {"z": z})
        else:
            got = torch.jit.load(str(shipped.path))(torch.from_numpy(z)).numpy()
        assert got.dtype == np.uint8
        assert got.shape == (4, 32, 32, 1)
        assert np.abs(got.astype(int) - wanted).max() <= 1
        assert (got != wanted).mean() < 1e-3


def test_a_64_pixel_color_generator_ships(tmp_path: Path) -> None:
    model = lively(ExamplesGenerator(width=8))
    torch.save(model.state_dict(), tmp_path / "netG.pth")
    read = checkpoint.read(tmp_path / "netG.pth")
    assert latent_image(read.spec).image == (3, 64, 64)
    assert publish.export(read, exporters.find("onnx"), tmp_path / "netG.onnx").report.passed


def other_weights(read: checkpoint.Checkpoint) -> checkpoint.Checkpoint:
    """The same generator with one weight changed by a little."""
    weights = {k: v.copy() for k, v in read.weights.items()}
    weights["convt1.weight"][0, 0, 0, 0] += 0.05
    return dataclasses.replace(read, weights=weights)


@pytest.mark.parametrize("there", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_failed_parity_leaves_the_target_as_it_was(classic_pth: Path, tmp_path: Path, there: bool) -> None:
    target = tmp_path / "g.pt"
    if there:
        target.write_bytes(b"what was here")

    class Altered:
        """An exporter that writes another generator than it was given, as a broken format would."""

        inner = exporters.find("torchscript")

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

        def write(self, read: PreparedGenerator, path: Path, options: Options) -> manifests.Manifest:
            return self.inner.write(other_weights(known_layers(read, "torchscript")), path, options)

    with pytest.raises(ParityError, match="other images") as failure:
        publish.export(checkpoint.read(classic_pth), Altered(), target)  # type: ignore[arg-type]
    assert failure.value.exit_code == 1
    assert not failure.value.report.passed
    assert [p.name for p in tmp_path.iterdir()] == (["g.pt"] if there else [])
    assert not there or target.read_bytes() == b"what was here"


def test_every_attempt_of_an_export_shares_one_prepared_generator(classic_pth: Path, tmp_path: Path) -> None:
    native = exporters.find("native")
    received: list[tuple[object, object]] = []

    class WrongAtFirst:
        """An exporter whose first attempt generates other images, so that it writes once more."""

        def __getattr__(self, name: str) -> object:
            return getattr(native, name)

        def write(self, generator: PreparedGenerator, path: Path, options: Options) -> manifests.Manifest:
            images = generator.batch(manifests.REFERENCE_SEED, range(8))
            received.append((generator, images))
            read = known_layers(generator, "native")
            return native.write(generator if len(received) > 1 else other_weights(read), path, options)

    exported = publish.export(checkpoint.read(classic_pth), WrongAtFirst(), tmp_path / "g.gan")  # type: ignore[arg-type]
    assert exported.report is not None
    assert exported.report.passed
    assert len(received) == 2
    assert all(a is b for a, b in zip(*received, strict=True))


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            ImportError("no name 'x' in torch"),
            UnavailableError,
            "doesn't work with the installed packages: no name 'x'",
        ),
        (
            AttributeError("'Node' has no 'target'\nat length"),
            GanExportError,
            "AttributeError: 'Node' has no 'target'$",
        ),
        (KeyError("aten.conv"), GanExportError, "torchscript can't write this generator: KeyError: 'aten.conv'"),
    ],
)
def test_what_a_converter_fails_with_is_one_line(
    classic_pth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type, message: str
) -> None:
    exporter = exporters.find("torchscript")

    def write(*_: object) -> None:
        raise error

    monkeypatch.setattr(type(exporter), "write", write)
    with pytest.raises(GanExportError, match=message) as failure:
        publish.export(checkpoint.read(classic_pth), exporter, tmp_path / "g.pt")
    assert type(failure.value) is kind
    assert not list(tmp_path.iterdir())


@each_format
def test_verify_tells_the_right_checkpoint_from_another(
    classic_pth: Path, artifacts: Artifacts, tmp_path: Path, name: str
) -> None:
    state = torch.load(classic_pth)
    state["model.3.weight"][0, 0, 0, 0] += 0.05
    torch.save(state, tmp_path / "other.pth")
    assert publish.verify(artifacts[name], checkpoint.read(classic_pth)).passed
    assert publish.verify(artifacts[name]).passed
    report = publish.verify(artifacts[name], checkpoint.read(tmp_path / "other.pth"))
    assert not report.passed
    assert "another checkpoint" in report.report.against


def test_verify_finds_a_changed_weight(artifacts: Artifacts, classic_pth: Path, tmp_path: Path) -> None:
    model = onnx.load(artifacts["onnx"])
    tensor = next(t for t in model.graph.initializer if t.name == "convt1.weight")
    values = onnx.numpy_helper.to_array(tensor).copy()
    values[3, 2, 1, 0] += 0.05
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, tmp_path / "g.onnx")
    with pytest.raises(CheckFailedError, match="contents have changed"):
        publish.verify(tmp_path / "g.onnx")
    assert not publish.verify(tmp_path / "g.onnx", checkpoint.read(classic_pth)).passed


@pytest.mark.parametrize(
    ("methods", "names"),
    [
        ((), ("onnx", "native")),
        pytest.param(("freeze",), (), marks=pytest.mark.long),
        pytest.param(("script",), ("pt2", "openvino", "safetensors"), marks=pytest.mark.long),
    ],
)
@pytest.mark.long
def test_the_same_bytes_from_any_folder_and_process(
    classic_pth: Path, tmp_path: Path, methods: tuple[str, ...], names: tuple[str, ...]
) -> None:
    """Two fresh processes with other hash seeds, folders and histories write the same."""
    program = (
        "import sys, torch, warnings; warnings.simplefilter('ignore'); from pathlib import Path\n"
        "from gan_export import checkpoint, exporters\n"
        "from gan_export.exporters.base import Options, unavailable_reason, write\n"
        "if sys.argv[2] == 'busy': torch.jit.script(torch.nn.Conv2d(1, 1, 1)); torch.rand(3)\n"
        "read = checkpoint.read(sys.argv[1])\n"
        f"for method in {methods}:\n"
        "    write(exporters.find('torchscript'), read, Path(f'{method}.pt'), Options(method=method))\n"
        f"for name in {names}:\n"
        "    exporter = exporters.find(name)\n"
        "    unavailable_reason(exporter) or write(exporter, read, Path(f'g{exporter.suffix}'), Options())\n"
    )
    digests = []
    for name in ("calm", "busy"):
        folder = tmp_path / name / "deeper"
        folder.mkdir(parents=True)
        environment = {**os.environ, "PYTHONHASHSEED": str(len(name) + ord(name[0]))}
        arguments = [sys.executable, "-c", program, str(classic_pth), name]
        subprocess.run(arguments, cwd=folder, env=environment, check=True, capture_output=True)
        digests.append({p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()})
        for file in folder.iterdir():
            content = file.read_bytes()
            for path in (str(ROOT), str(tmp_path), str(classic_pth.parent), "site-packages", sys.prefix):
                assert path.encode() not in content, (file.name, path)
    an_ir = "openvino" in names and importlib.util.find_spec("openvino")  # is two files
    assert len(digests[0]) == len(methods) + len(names) - ("openvino" in names) + (2 if an_ir else 0)
    assert digests[0] == digests[1]


def test_what_cannot_be_written_is_refused_beforehand(classic_pth: Path, tmp_path: Path) -> None:
    read = checkpoint.read(classic_pth)
    for target, message in ((tmp_path / "no" / "g.onnx", "not a folder"), (tmp_path, "is a folder")):
        with pytest.raises(GanExportError, match=message):
            publish.export(read, exporters.find("onnx"), target)
    with pytest.raises(GanExportError, match="has no option opset"):
        publish.export(read, exporters.find("torchscript"), tmp_path / "g.pt", Options(opset=20))
    with pytest.raises(GanExportError, match="opset=3"):
        publish.export(read, exporters.find("onnx"), tmp_path / "g.onnx", Options(opset=3))
    with pytest.raises(GanExportError, match="no precision fp8"):
        publish.export(read, exporters.find("onnx"), tmp_path / "g.onnx", Options(precision="fp8"))
    with pytest.raises(GanExportError, match=r"name one \.xml"):
        exporters.find("openvino").write(read, tmp_path / "g.bin", Options())
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_safetensors_read_back_as_the_same_generator(classic_pth: Path, artifacts: Artifacts, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    first, again = checkpoint.read(classic_pth), checkpoint.read(artifacts["safetensors"])
    assert again.spec == first.spec
    assert all(np.array_equal(again.weights[k], first.weights[k]) for k in first.weights)
    assert again.reading.assumed == ()
    plain = load_file(artifacts["safetensors"])  # the format's own reader takes it
    assert all(np.array_equal(plain[k], first.weights[k]) for k in first.weights)
    data = bytearray(artifacts["safetensors"].read_bytes())
    shape = b'\\"shape\\":[100]'
    at = data.rindex(shape)  # the spec's; the manifest before it has one too
    data[at : at + len(shape)] = shape.replace(b"100", b"200")
    (tmp_path / "forged.safetensors").write_bytes(data)
    with pytest.raises(GanExportError, match=r"forged\.safetensors: layer"):
        checkpoint.read(tmp_path / "forged.safetensors")


def test_an_ir_needs_its_own_weights(artifacts: Artifacts, classic_pth: Path, tmp_path: Path) -> None:
    assert artifacts["openvino"].with_suffix(".bin").is_file()
    for suffix in (".xml", ".bin"):
        (tmp_path / f"g{suffix}").write_bytes(artifacts["openvino"].with_suffix(suffix).read_bytes())
    weights = bytearray((tmp_path / "g.bin").read_bytes())
    stale = np.frombuffer(weights, np.float32, offset=1024, count=40000)
    weights[1024 : 1024 + stale.nbytes] = (stale[::-1] * np.float32(1.5)).tobytes()
    (tmp_path / "g.bin").write_bytes(weights)  # of another training, as long
    with pytest.raises(CheckFailedError, match="contents have changed"):
        publish.verify(tmp_path / "g.xml")
    read = checkpoint.read(classic_pth)
    assert not publish.verify(tmp_path / "g.xml", read).passed
    (tmp_path / "g.bin").write_bytes(weights[:-5000])
    with pytest.raises(GanExportError, match="can't load it"):
        publish.verify(tmp_path / "g.xml", read)
    (tmp_path / "g.bin").unlink()
    with pytest.raises(GanExportError, match="is missing"):
        publish.verify(tmp_path / "g.xml")


@pytest.mark.skipif(os.name == "nt", reason="no limit to a file's size there")
@pytest.mark.long
@pytest.mark.parametrize("name", ["openvino", "ncnn"])
@pytest.mark.parametrize("there", [False, True])
def test_no_space_for_weights_leaves_nothing_half_written(
    classic_pth: Path, tmp_path: Path, name: str, there: bool
) -> None:
    """No file may be as long as the weights of a format of several files."""
    exporter = exporters.find(name)
    if unavailable_reason(exporter):
        pytest.skip(unavailable_reason(exporter))
    target = tmp_path / f"g{exporter.suffix}"
    before = {p.name: b"what was here" for p in (target, target.with_suffix(".bin")) if there}
    for file, content in before.items():
        (tmp_path / file).write_bytes(content)
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, 120_000))\n"
        "from gan_export.cli.export import main; sys.argv[0] = 'gan-export'; main()"
    )
    arguments = [sys.executable, "-W", "ignore", "-c", program, name, str(classic_pth), "-o", str(target)]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done
    assert done.stderr.startswith("gan-export: ")
    assert len(done.stderr.splitlines()) == 1
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("precision", "decibels", "share"), [("fp16", 45, 0.52), pytest.param("int8", 28, 0.35, marks=pytest.mark.long)]
)
def test_narrower_weights_make_an_ir_smaller(
    classic_pth: Path, artifacts: Artifacts, tmp_path: Path, precision: str, decibels: float, share: float
) -> None:
    shipped = publish.export(
        checkpoint.read(classic_pth), exporters.find("openvino"), tmp_path / "g.xml", Options(precision=precision)
    )
    assert shipped.report.passed
    assert min(row.psnr for row in shipped.report.rows) >= decibels
    full = artifacts["openvino"].with_suffix(".bin").stat().st_size
    assert (tmp_path / "g.bin").stat().st_size <= share * full
    report = json.loads(manifests.report_path(shipped.path).read_text())
    assert report["beside"] == {"g.bin": hashlib.sha256((tmp_path / "g.bin").read_bytes()).hexdigest()}
