"""The built-in generators of the suites `cpu-wide` and `cpu-uneven` are the networks that their titles name."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan_export import checkpoint
from gan_export.bench import models
from gan_export.bench.plan import from_suite
from gan_export.graph import spec as specs

WIDE = {  # GFLOP with a multiply-add as two, as published for these networks or counted from their code
    "classic": 0.137, "sngan64": 3.9, "stylegan2-64": 15.3, "stylegan2-256": 30.1, "r3gan64": 26.1, "resnet9": 99.2,
    "unet256": 12.1, "srvgg": 39.6, "rrdb6": 46.8,
}  # fmt: skip
UNEVEN = {  # family, and the shape of the image that comes out
    "classic-96": ("dcgan", (1, 32, 32)),
    "sngan48-96": ("mimicry", (3, 48, 48)),
    "stylegan2-64-96": ("stylegan2_rosinality", (3, 64, 64)),
    "r3gan32-160": ("r3gan", (3, 32, 32)),
    "resnet6-96": ("junyanz_resnet", (3, 60, 100)),
    "unet32-40": ("junyanz_unet", (3, 96, 160)),
    "srvgg-40": ("srvgg", (3, 240, 400)),
    "rrdb2-48": ("rrdb", (3, 144, 208)),
}
FAMILIES = {
    "classic": "dcgan", "sngan64": "mimicry", "stylegan2-64": "stylegan2_rosinality", "r3gan64": "r3gan",
    "stylegan2-256": "stylegan2_rosinality", "resnet9": "junyanz_resnet", "unet256": "junyanz_unet", "srvgg": "srvgg",
    "rrdb6": "rrdb",
}  # fmt: skip


def test_the_suites_have_them_all() -> None:
    wide, uneven = from_suite("cpu-wide"), from_suite("cpu-uneven")
    assert set(wide.models) == set(WIDE)
    assert wide.of_model("classic").batches == (1, 64)
    assert set(uneven.models) == set(UNEVEN)
    assert {name: uneven.of_model(name).batches for name in UNEVEN} == {
        name: (1,) if models.find(name).size else (1, 3) for name in UNEVEN
    }


@pytest.mark.long
@pytest.mark.parametrize("name", WIDE)
def test_a_network_is_recognized_and_as_large_as_it_says(name: str, tmp_path: Path) -> None:
    model = models.find(name)
    models.write_checkpoint(model, tmp_path / "g.pth")
    read = checkpoint.read(tmp_path / "g.pth", by_evidence=False)
    sizes = dict(zip(read.signature.sizes, model.size or (), strict=True))
    assert read.arch == FAMILIES[name]
    assert sum(specs.flops(read.spec, sizes).values()) / 1e9 == pytest.approx(WIDE[name], rel=0.02)


@pytest.mark.long
@pytest.mark.parametrize("name", UNEVEN)
def test_a_network_of_an_uneven_size_is_recognized(name: str, tmp_path: Path) -> None:
    model = models.find(name)
    models.write_checkpoint(model, tmp_path / "g.pth")
    read = checkpoint.read(tmp_path / "g.pth", by_evidence=False)
    sizes = dict(zip(read.signature.sizes, model.size or (), strict=True))
    assert (read.arch, read.signature.outputs[0].dims(sizes)) == UNEVEN[name]
