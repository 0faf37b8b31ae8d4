"""GFPGAN, read from the file that its authors publish, against a restatement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_export import checkpoint, exporters
from gan_export.checkpoint.exportable import prepare
from gan_export.errors import GanExportError
from gan_export.pipeline import publish
from gan_export.recognize import ReadOptions
from tests.conftest import Command
from tests.originals.gfpgan import Gfpgan, random_gfpgan

WIDTHS = [16, 12, 8, 8]  # 32x32


def saved(model: Gfpgan, path: Path) -> Path:
    raw = {key: 2 * value for key, value in model.state_dict().items()}
    torch.save({"params": raw, "params_ema": model.state_dict()}, path)
    return path


@pytest.mark.parametrize(
    ("widths", "settings"),
    [(WIDTHS, {}), ([16, 12, 8, 8, 4], {"half": False}), (WIDTHS, {"each": False})],
    ids=["half", "all channels, 64x64", "one code"],
)
@pytest.mark.parametrize("noise", ["const", "seed", "none"])
def test_reads_as_the_original(widths: list[int], settings: dict[str, bool], noise: str, tmp_path: Path) -> None:
    model = random_gfpgan(widths, 10, **settings)
    read = checkpoint.read(saved(model, tmp_path / "GFPGANv1.4.pth"), ReadOptions(noise=noise))
    assert read.arch == "gfpgan"
    side = 2 << len(widths)
    face, *planes = read.signature.inputs
    assert (face.name, face.shape, face.range) == ("input", (3, side, side), (-1.0, 1.0))
    feeds = read.signature.feeds(5, range(3))
    given = [torch.from_numpy(feeds[p.name].copy()).double() for p in planes]
    assert len(given) == (2 * len(widths) - 1 if noise == "seed" else 0)
    if noise == "none":
        given = [torch.zeros(1).double()] * (2 * len(widths) - 1)
    with torch.no_grad():
        want = model.double()(torch.from_numpy(feeds["input"].copy()).double(), given or None).numpy()
    assert want.std() > 0.05, "an image that says nothing"
    np.testing.assert_allclose(prepare(read).run(feeds).exact["image"], want, rtol=0, atol=1e-6)


def test_what_is_assumed_is_stated(tmp_path: Path) -> None:
    read = checkpoint.read(saved(random_gfpgan(WIDTHS, 10), tmp_path / "g.pth"))
    assert [a.option for a in read.reading.assumed] == ["noise=", ""]
    with pytest.raises(GanExportError, match="noise=random: must be const, none or seed"):
        checkpoint.read(saved(random_gfpgan(WIDTHS, 10), tmp_path / "g.pth"), ReadOptions(noise="random"))  # type: ignore[arg-type]


def test_a_decoder_of_other_widths_is_refused(tmp_path: Path) -> None:
    model = random_gfpgan(WIDTHS, 10)
    state = model.state_dict()
    state["condition_scale.1.2.weight"] = state["condition_scale.1.2.weight"][:-1]
    state["condition_scale.1.2.bias"] = state["condition_scale.1.2.bias"][:-1]
    torch.save(state, tmp_path / "g.pth")
    with pytest.raises(GanExportError, match=r"gfpgan|condition_scale"):
        checkpoint.read(tmp_path / "g.pth")


@pytest.mark.long
def test_it_is_exported_and_restores_a_face(tmp_path: Path, command: Command) -> None:
    read = checkpoint.read(saved(random_gfpgan(WIDTHS, 10), tmp_path / "GFPGANv1.4.pth"))
    shipped = publish.export(read, exporters.find("onnx"), tmp_path / "g.onnx")
    assert shipped.report is not None
    assert shipped.report.passed
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(tmp_path / "face.png")
    wrong = command("gan-sample", "apply", shipped.path, tmp_path / "face.png", "-o", tmp_path / "out.png")
    assert wrong.code == 2
    assert "--resize" in wrong.err
    done = command("gan-sample", "apply", shipped.path, tmp_path / "face.png", "--resize", 32, "-o", tmp_path / "o.png")
    assert done.code == 0, done.err
    with Image.open(tmp_path / "o.png") as image:
        assert image.size == (32, 32)
