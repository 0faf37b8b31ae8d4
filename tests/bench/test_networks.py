"""The built-in generators of the suite `cpu-wide` are the networks that their titles name."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan_export import checkpoint
from gan_export.bench import models
from gan_export.bench.plan import from_suite
from gan_export.graph import spec as specs

GFLOP = {  # with a multiply-add as two, as published for these networks or counted from their code
    "classic": 0.137, "sngan64": 3.9, "stylegan2-64": 15.3, "stylegan2-256": 30.1, "r3gan64": 26.1, "resnet9": 99.2,
    "unet256": 12.1, "srvgg": 39.6, "rrdb6": 46.8,
}  # fmt: skip
FAMILIES = {
    "classic": "dcgan", "sngan64": "mimicry", "stylegan2-64": "stylegan2_rosinality", "r3gan64": "r3gan",
    "stylegan2-256": "stylegan2_rosinality", "resnet9": "junyanz_resnet", "unet256": "junyanz_unet", "srvgg": "srvgg",
    "rrdb6": "rrdb",
}  # fmt: skip


def test_the_suite_has_them_all() -> None:
    assert set(from_suite("cpu-wide").models) == set(GFLOP)
    assert from_suite("cpu-wide").of_model("classic").batches == (1, 64)


@pytest.mark.long
@pytest.mark.parametrize("name", GFLOP)
def test_a_network_is_recognized_and_as_large_as_it_says(name: str, tmp_path: Path) -> None:
    model = models.find(name)
    models.write_checkpoint(model, tmp_path / "g.pth")
    read = checkpoint.read(tmp_path / "g.pth", by_evidence=False)
    sizes = dict.fromkeys(read.signature.sizes, model.side)
    assert read.arch == FAMILIES[name]
    assert sum(specs.flops(read.spec, sizes).values()) / 1e9 == pytest.approx(GFLOP[name], rel=0.02)
