"""Nothing between a module and its export assumes a latent, one output, or rank 4: a toy with two inputs, two outputs
and free sizes goes through every format that takes a module, is verified, and is refused by name by the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gan_export import runtimes
from gan_export.errors import GanExportError
from gan_export.exporters import find
from gan_export.exporters.base import Options
from gan_export.formats import manifest as manifests
from gan_export.graph.ports import Normal, Port, Size
from gan_export.graph.signature import Signature
from gan_export.pipeline import publish, table

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


@pytest.mark.parametrize("options", [Options(), Options(output="bytes")], ids=["floats", "bytes"])
@pytest.mark.parametrize("name", ["onnx", "torchscript", pytest.param("pt2", marks=pytest.mark.long), "openvino"])
def test_a_generator_of_another_kind_is_exported_verified_and_run(
    toy: nn.Module, tmp_path: Path, name: str, options: Options
) -> None:
    exporter = find(name)
    line = next(one for one in table.lines() if one.exporter.name == name)
    if not line.available:
        pytest.skip(line.reason)
    if options.output == "bytes" and "output" not in exporter.takes:
        pytest.skip("it has no bytes")
    shipped = publish.export_module(toy, name, tmp_path / f"g{exporter.suffix}", signature=TOY, options=options)
    assert shipped.report is not None
    assert shipped.report.passed
    assert len(shipped.report.rows) == 5, "three batches, and two more sizes"
    manifest = manifests.read_manifest(shipped.path, manifests.detect_format(shipped.path))
    assert manifest is not None
    assert manifest.signature == TOY
    assert manifest.arch == "Toy"
    assert publish.verify(shipped.path).report.passed
    session = runtimes.find(exporter.runtime).load(shipped.path)
    feeds = TOY.feeds(5, range(3), sizes=AT)
    made = session.run(feeds)
    with torch.inference_mode():
        wanted = {n: t.numpy() for n, t in toy(**{n: torch.from_numpy(a) for n, a in feeds.items()}).items()}
    assert {n: a.shape for n, a in TOY.to_bytes(made).items()} == TOY.as_bytes().output_shapes(3, AT)
    assert np.abs(made["mask"] - wanted["mask"]).max() < 1e-5
    if options.output == "bytes":
        assert made["image"].dtype == np.uint8
    else:
        assert np.abs(made["image"] - wanted["image"]).max() < 1e-5
    with pytest.raises(GanExportError, match="this model takes input, style"):
        session.run({"style": feeds["style"]})
    session.close()


@pytest.mark.parametrize("name", ["native", "c", "safetensors"])
def test_a_format_that_needs_the_layers_says_so_by_name(toy: nn.Module, tmp_path: Path, name: str) -> None:
    target = tmp_path / f"g{find(name).suffix}"
    with pytest.raises(GanExportError, match=rf"^{name} needs the generator's layers[^\n]*Toy[^\n]*$"):
        publish.export_module(toy, name, target, signature=TOY)
    assert not target.exists()


def test_a_manifest_of_another_kind_has_no_facts_for_rooms_that_need_a_latent() -> None:
    with pytest.raises(GanExportError, match="this generator takes input, style; only one from a latent z"):
        manifests.Facts.of_signature("Toy", TOY)
