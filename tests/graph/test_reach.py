"""How far generators of images see: what `reach_of` states, against what a change of one pixel does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gan_export import checkpoint
from gan_export.graph.reach import reach_of
from gan_export.graph.torch_module import build_module
from gan_export.recognize.options import ReadOptions
from tests.originals.images_in import JunyanzResnet, JunyanzUnet, Lornatang, Rrdb, Srvgg, randomized

STORED = ReadOptions(norm="stored")
MODELS = {
    "rrdb": (lambda: Rrdb(4, 1, 2), None),
    "rrdb with unshuffle": (lambda: Rrdb(4, 1, 2, unshuffle=2), None),
    "srvgg": (lambda: Srvgg(4, 2, 4), None),
    "srresnet": (lambda: Lornatang(4, 1, 1), STORED),
    "resnet": (lambda: JunyanzResnet(4, 1), STORED),
    "resnet with blur": (lambda: JunyanzResnet(4, 1, blur_down=True, blur_up=True), STORED),
    "unet": (lambda: JunyanzUnet(2, 5), STORED),
}


def read(model: nn.Module, folder: Path, options: ReadOptions | None = None) -> checkpoint.Checkpoint:
    torch.save(randomized(model).state_dict(), folder / "g.pth")
    return checkpoint.read(folder / "g.pth", options)


@pytest.mark.parametrize("name", MODELS)
def test_a_pixel_changes_what_is_in_reach_and_nothing_else(name: str, tmp_path: Path) -> None:
    make, options = MODELS[name]
    found = read(make(), tmp_path, options)
    reach = reach_of(found.spec)
    assert reach is not None
    assert not reach.whole
    module = build_module(found.spec, found.weights).double()
    side = 2 * reach.pixels + 4 * reach.multiple
    size = found.signature.sizes["H"].nearest(side)
    x = torch.rand(1, 3, size, size, dtype=torch.float64)
    with torch.no_grad():
        before = module(x)
        seen = 0
        for shift in range(min(reach.multiple, 4)):  # strides let pixels of other phases see other distances
            at = size // 2 // reach.multiple * reach.multiple + shift
            changed = x.clone()
            changed[0, :, at, at] += 1.0
            rows = torch.nonzero((module(changed) != before).any(1)[0].any(1))[:, 0].numpy()
            scale = before.shape[2] / size
            read_from = np.floor(rows / scale)  # the input's row that an output's row lies on
            seen = max(seen, int(np.abs(read_from - at).max()))
    assert seen <= reach.pixels
    assert seen >= reach.pixels - 2 * reach.multiple


def test_an_instance_norm_sees_the_whole_image(tmp_path: Path) -> None:
    for model in (JunyanzResnet(4, 1), JunyanzResnet(4, 1, "instance")):
        reach = reach_of(read(model, tmp_path).spec)
        assert reach is not None
        assert (reach.whole, reach.pixels) == ("InstanceNorm", 0)


def test_twenty_three_blocks_see_349_pixels(tmp_path: Path) -> None:
    """Per block 3 x 5 convolutions of 3 x 3; 2 more before the first enlargement, then 1/2 + 1/4 x 3 of a pixel."""
    reach = reach_of(read(Rrdb(4, 23, 2), tmp_path).spec)
    assert reach is not None
    assert reach.pixels == 23 * 15 + 2 + 2
