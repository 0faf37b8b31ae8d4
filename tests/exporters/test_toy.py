"""Nothing between a module and its export assumes a latent, one output, or rank 4: a toy with two inputs, two outputs
and free sizes goes through every format that takes a module, is verified, and is refused by name by the others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gan_export import runtimes
from gan_export.checkpoint import Checkpoint
from gan_export.checkpoint.exportable import prepare
from gan_export.errors import GanExportError
from gan_export.exporters import find
from gan_export.exporters.base import Options
from gan_export.formats import manifest as manifests
from gan_export.graph.layers import Activation, Conv, Linear, Upsample
from gan_export.graph.ports import Normal, Port, Size
from gan_export.graph.signature import Signature
from gan_export.graph.spec import Chain, GeneratorSpec
from gan_export.graph.views import LatentImage
from gan_export.pipeline import publish, table
from gan_export.runtimes.base import feeds_for
from tests.conftest import Command, refused
from tests.exporters.generators import checkpoint_of

TOY = Signature(
    (Port("input", "image", (3, "H", "W"), range=(-1, 1)), Port("style", "style", (5,), prior=Normal())),
    (
        Port("image", "image", (3, "H*2", "W*2"), range=(-1, 1)),
        Port("mask", "values", ("H", "W"), range=(0, 1)),
    ),
    sizes={"H": Size(4, 2, 256), "W": Size(4, 1, 256)},
)
AT = {"H": 10, "W": 7}


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.line = nn.Linear(5, 4)

    def forward(self, *, style: torch.Tensor, input: torch.Tensor) -> dict[str, torch.Tensor]:
        h = torch.relu(self.conv(input) + self.line(style)[:, :, None, None])
        large = torch.nn.functional.interpolate(h, scale_factor=2.0, mode="nearest")
        return {"mask": torch.sigmoid(h.mean(1)), "image": torch.tanh(large[:, :3])}


@pytest.fixture(scope="module")
def toy() -> nn.Module:
    torch.manual_seed(0)
    return Toy().eval()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("onnx", Options()),
        pytest.param("onnx", Options(output="bytes"), marks=pytest.mark.long),
        pytest.param("openvino", Options(), marks=pytest.mark.long),
        pytest.param("torchscript", Options(output="bytes"), marks=pytest.mark.long),
        pytest.param("pt2", Options(output="bytes"), marks=pytest.mark.long),
    ],
)
def test_a_generator_of_another_kind_is_exported_verified_and_run(
    toy: nn.Module, tmp_path: Path, name: str, options: Options
) -> None:
    exporter = find(name)
    line = next(one for one in table.lines() if one.exporter.name == name)
    if not line.available:
        pytest.skip(line.reason)
    shipped = publish.export_module(toy, name, tmp_path / f"g{exporter.suffix}", signature=TOY, options=options)
    assert shipped.report is not None
    assert shipped.report.passed
    assert len(shipped.report.rows) == 4, "two batches, and two more sizes"
    manifest = manifests.read_manifest(shipped.path, manifests.detect_format(shipped.path))
    assert manifest is not None
    assert manifest.signature == TOY
    assert manifest.arch == "Toy"
    assert publish.verify(shipped.path).report.passed
    session = runtimes.find(exporter.runtime).load(shipped.path)
    feeds = TOY.feeds(5, range(3), sizes=AT)
    made = session.run(feeds_for(session, TOY, feeds))
    with torch.inference_mode():
        wanted = {n: t.numpy() for n, t in toy(**{n: torch.from_numpy(a) for n, a in feeds.items()}).items()}
    assert {n: a.shape for n, a in TOY.to_bytes(made).items()} == TOY.as_bytes().output_shapes(3, AT)
    assert np.abs(made["mask"] - wanted["mask"]).max() < 1e-5
    if options.output == "bytes":
        assert made["image"].dtype == np.uint8
    else:
        assert np.abs(made["image"] - wanted["image"]).max() < 1e-5
    with pytest.raises(GanExportError, match="this model has the inputs input, style"):
        session.run({"style": feeds["style"]})
    session.close()


def test_it_is_sampled_to_a_file_and_to_a_dataset(toy: nn.Module, tmp_path: Path, command: Command) -> None:
    path = publish.export_module(toy, "onnx", tmp_path / "g.onnx", signature=TOY).path
    assert command("gan-sample", path, "-n", 3, "--seed", 5, "-o", tmp_path / "x.npy").code == 0
    feeds = TOY.feeds(5, range(3))
    with torch.inference_mode():
        wanted = {n: t.numpy() for n, t in toy(**{n: torch.from_numpy(a) for n, a in feeds.items()}).items()}
    images = np.load(tmp_path / "x.npy").astype(int)
    assert np.abs(images - TOY.to_bytes(wanted)["image"]).max() <= 1
    made = command("gan-sample", "dataset", path, "-n", 3, "--seed", 5, "--format", "npy", "-o", tmp_path / "d")
    assert made.code == 0, made
    assert np.array_equal(np.load(next((tmp_path / "d").rglob("images*.npy"))), images)
    assert "needs a generator with one latent z; this one takes input, style" in refused(
        command("gan-sample", "interpolate", path, "--keypoints", 3, "-o", tmp_path / "walk.gif")
    )


@pytest.mark.long
def test_it_is_benched_and_judged_by_its_own_references(toy: nn.Module, tmp_path: Path, command: Command) -> None:
    path = publish.export_module(toy, "onnx", tmp_path / "g.onnx", signature=TOY).path
    words = ("--batch", 2, "--rounds", 2, "--seconds", 0.05, "--runtimes", "onnxruntime")
    done = command("gan-bench", path, *words, "--json", tmp_path / "run.json")
    assert done.code == 0, done
    run = json.loads((tmp_path / "run.json").read_text())
    assert (run["model"]["arch"], run["model"]["image"]) == ("Toy", [3, 128, 128])
    assert [entry["parity"]["passed"] for entry in run["rows"]] == [True]


def known() -> Checkpoint:
    """A generator whose layers are known, from an image of any even size and a style to two outputs."""
    c = Chain("input")
    c.add(Conv, "conv", in_channels=3, out_channels=4, kernel=3, padding=1)
    c.add(Activation, "relu", kind="relu")
    c.add(Conv, "down", in_channels=4, out_channels=3, kernel=2, stride=2)
    c.add(Upsample, "up", factor=4)
    c.add(Activation, "tanh", kind="tanh")
    c.add(Linear, "line", inputs=("style",), in_features=5, out_features=2)
    style = Port("style", "style", (5,), prior=Normal())
    signature = Signature(
        (Port("input", "image", (3, "H", "W"), range=(-1, 1)), style),
        (Port("image", "image", (3, "H*2", "W*2"), range=(-1, 1)), Port("code", "values", (2,))),
        sizes={"H": Size(4, 2, 256), "W": Size(4, 2, 256)},
    )
    return checkpoint_of(GeneratorSpec("toy", signature, tuple(c), outputs=("tanh", "line")))


@pytest.mark.parametrize(
    "name",
    [
        "onnx",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("torchscript", "pt2", "openvino", "safetensors")),
    ],
)
def test_known_layers_of_another_kind_are_exported_verified_and_run(tmp_path: Path, name: str) -> None:
    exporter, generator = find(name), known()
    line = next(one for one in table.lines() if one.exporter.name == name)
    if not line.available:
        pytest.skip(line.reason)
    shipped = publish.export(generator, exporter, tmp_path / f"g{exporter.suffix}")
    assert shipped.report is not None
    assert len(shipped.report.rows) == 4, "two batches, and two more sizes"
    assert publish.verify(shipped.path, generator).passed
    session = runtimes.find(exporter.runtime).load(shipped.path)
    feeds = generator.signature.feeds(5, range(3), sizes={"H": 10, "W": 6})
    made, wanted = session.run(feeds), prepare(generator).run(feeds).exact
    assert {n: a.shape for n, a in made.items()} == {"image": (3, 3, 20, 12), "code": (3, 2)}
    assert all(np.abs(made[n] - wanted[n]).max() < 1e-5 for n in made)
    session.close()


@pytest.mark.parametrize(("name", "words"), [("native", "holds one from an image"), ("c", "takes only one from")])
def test_a_format_of_one_latent_refuses_another_kind_by_its_ports(tmp_path: Path, name: str, words: str) -> None:
    target = tmp_path / f"g{find(name).suffix}"
    with pytest.raises(GanExportError, match=rf"takes input, style and gives image, code; {name} {words}"):
        publish.export(known(), find(name), target)
    assert not target.exists()


@pytest.mark.parametrize("name", ["native", "c", "safetensors"])
def test_a_format_that_needs_the_layers_says_so_by_name(toy: nn.Module, tmp_path: Path, name: str) -> None:
    target = tmp_path / f"g{find(name).suffix}"
    with pytest.raises(GanExportError, match=rf"^{name} needs the generator's layers[^\n]*Toy[^\n]*$"):
        publish.export_module(toy, name, target, signature=TOY)
    assert not target.exists()


def test_a_manifest_of_another_kind_has_no_facts_for_rooms_that_need_a_latent() -> None:
    with pytest.raises(GanExportError, match="this generator takes input, style and gives image, mask"):
        LatentImage.of(TOY, "this command")
