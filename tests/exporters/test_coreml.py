"""Core ML: what can be shown of a package without macOS; the rest is reported as not verified."""

from __future__ import annotations

import copy
import hashlib
import json
import platform
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gan_export import checkpoint, latents, runtimes
from gan_export.errors import GanExportError
from gan_export.exporters import find
from gan_export.exporters.base import Options, unavailable_reason
from gan_export.formats import manifest as manifests
from gan_export.formats.base import KEY
from gan_export.formats.coreml import COREML_MODEL
from gan_export.graph.lower import lower
from gan_export.pipeline import publish
from tests.conftest import Artifacts, Command, refused
from tests.exporters.mil import Program
from tests.originals import ORIGINALS, Original
from tests.originals.volumes import ROWS

COREML = find("coreml")
pytestmark = [
    pytest.mark.long,  # coremltools takes seconds to import
    pytest.mark.skipif(bool(unavailable_reason(COREML)), reason=unavailable_reason(COREML)),
]
elsewhere = pytest.mark.skipif(platform.system() == "Darwin", reason="macOS runs it")


def test_the_package_holds_the_generators_weights_shapes_and_manifest(classic_pth: Path, artifacts: Artifacts) -> None:
    program = Program(artifacts["coreml"])
    assert program.inputs == {"z": (np.float32, (1, 100))}
    assert set(program.outputs) == {"image"}
    assert program.outputs["image"][0] is np.float32
    read = checkpoint.read(classic_pth)
    _, weights = lower(read.spec, read.weights)
    held = program.weights()
    for name, weight in weights.items():
        if weight.size > 1:
            assert any(w.shape == weight.shape and np.array_equal(w, weight) for w in held), name
    manifest = manifests.read_manifest(artifacts["coreml"], "coreml")
    assert manifest is not None
    assert manifest.source_sha256 == hashlib.sha256(classic_pth.read_bytes()).hexdigest()
    assert program.metadata.userDefined[KEY] == manifest.to_json()
    assert not any("date" in key for key in program.metadata.userDefined)


@pytest.mark.parametrize("name", ["gan3d-32", "signal-flat"])
def test_a_volume_or_signal_is_called_so(name: str, tmp_path: Path) -> None:
    original = next(o for o in ROWS if o.name == name)
    read = checkpoint.read(original.save(original.model(), tmp_path / "g.pth"))
    COREML.write(read, tmp_path / "g.mlpackage", Options())
    assert set(Program(tmp_path / "g.mlpackage").outputs) == {read.signature.outputs[0].name}


@pytest.mark.parametrize("original", ORIGINALS[::3], ids=lambda o: o.name)
def test_its_program_draws_each_originals_pictures(original: Original, tmp_path: Path) -> None:
    model = original.model(original.other_width)
    read = checkpoint.read(original.save(model, tmp_path / f"model{original.suffix}"), original.overrides)
    COREML.write(read, tmp_path / "g.mlpackage", Options())
    program = Program(tmp_path / "g.mlpackage")
    z, labels = original.latents(2), original.labels(2)
    wanted = original.draw(copy.deepcopy(model).double(), z.double()).numpy()
    eager = original.draw(model, z).numpy()
    largest = max(1.0, float(np.abs(wanted).max()))
    for i in range(len(z)):
        label = {"label": labels[i : i + 1].int()} if original.classes else {}
        got = program.draw(z=z[i : i + 1].flatten(1), **label).numpy()
        assert np.abs(got - wanted[i]).max() <= 2e-5 * largest + np.abs(eager - wanted).max()


def test_fp16_halves_the_weights(classic: nn.Module, classic_pth: Path, artifacts: Artifacts, tmp_path: Path) -> None:
    shipped = publish.export(checkpoint.read(classic_pth), COREML, tmp_path / "g.mlpackage", Options(precision="fp16"))
    weights = "Data/com.apple.CoreML/weights/weight.bin"
    full = (artifacts["coreml"] / weights).stat().st_size
    assert (shipped.path / weights).stat().st_size < 0.52 * full
    program = Program(shipped.path)
    assert all(weight.dtype == np.float16 for weight in program.weights())
    z = torch.from_numpy(latents.draw(5, 0, 1, 100))
    with torch.no_grad():
        wanted = classic(z[:, :, None, None]).numpy()
    got = program.draw(z=z).numpy()
    assert got.dtype == np.float32
    assert 20 * np.log10(2 / np.sqrt(np.mean((got - wanted) ** 2))) >= 45


@elsewhere
def test_an_export_says_that_it_is_unproven_here(command: Command, classic_pth: Path, tmp_path: Path) -> None:
    target = tmp_path / "g.mlpackage"
    made = command("gan-export", "coreml", classic_pth, "-o", target)
    assert made.code == 0, made
    assert "NOT VERIFIED" in made.out
    assert "macOS" in made.out
    report = json.loads(manifests.report_path(target).read_text())
    assert report["parity"] is None
    assert "macOS" in report["unproven"]
    assert "Data/com.apple.CoreML/weights/weight.bin" in report["files"]
    assert {p.name for p in tmp_path.iterdir()} == {target.name, manifests.report_path(target).name}
    listed = command("gan-export", "list").out
    assert "not verified" in listed

    shown = command("gan-export", "inspect", target)
    assert shown.code == 0
    assert hashlib.sha256(classic_pth.read_bytes()).hexdigest() in shown.out
    for arguments in (("gan-export", "verify", target), ("gan-export", "verify", target, classic_pth)):
        assert "Core ML runs on macOS only; do this there" in refused(command(*arguments))
    assert "macOS" in refused(command("gan-sample", target, "-n", 4, "-o", tmp_path / "grid.png"))
    assert command("gan-export", "coreml", classic_pth, "-o", target).code == 0  # in place of the first
    (target / "mine.txt").write_text("mine")
    assert "mine.txt isn't as it was exported" in refused(command("gan-export", "coreml", classic_pth, "-o", target))


@elsewhere
def test_a_checkpoint_that_draws_nothing_is_refused_unproven_too(classic: nn.Module, tmp_path: Path) -> None:
    state = {k: v.clone() for k, v in classic.state_dict().items()}
    state["model.9.bias"][:] = float("nan")
    torch.save(state, tmp_path / "g.pth")
    with pytest.raises(GanExportError, match="NaN"):
        publish.export(checkpoint.read(tmp_path / "g.pth"), COREML, tmp_path / "g.mlpackage")
    assert [p.name for p in tmp_path.iterdir()] == ["g.pth"]


def test_a_spoilt_package_is_refused_in_one_line(command: Command, artifacts: Artifacts, tmp_path: Path) -> None:
    package = tmp_path / "g.mlpackage"
    shutil.copytree(artifacts["coreml"], package)
    model = package / COREML_MODEL
    whole = model.read_bytes()
    for size in (0, 1, 40, len(whole) // 2):
        model.write_bytes(whole[:size])
        assert "g.mlpackage" in refused(command("gan-export", "inspect", package))
    model.unlink()
    assert "g.mlpackage" in refused(command("gan-export", "inspect", package))
    with pytest.raises(GanExportError):
        runtimes.find("coreml").load(package)
