"""References of large images: the same values as PyTorch's, in bounded pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gan_export import checkpoint, exporters
from gan_export.checkpoint import exportable
from gan_export.exporters.base import Options
from gan_export.graph.exact import MOST_COPIED, bound_memory
from gan_export.pipeline import publish
from gan_export.verification import compare
from tests.checkpoint.makers import generator, prefixed, saved


@pytest.mark.parametrize(("kernel", "padding", "bias"), [(3, 1, True), ((5, 2), (2, 0), False), (1, 0, True)])
def test_a_bounded_convolution_gives_pytorchs_values(kernel: int | tuple[int, int], padding: int, bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 4, kernel, padding=padding, bias=bias).double()
    x = torch.randn(2, 6, 2400, 2400).double() if kernel == 1 else torch.randn(2, 6, 830, 791).double()
    assert 6 * plain.weight[0, 0].numel() * x[0, 0].numel() > MOST_COPIED
    with torch.no_grad():
        wanted = plain(x)
        got = bound_memory(nn.Sequential(plain))(x)
    assert got.shape == wanted.shape
    assert float((got - wanted).abs().max()) < 1e-13


def test_images_in_pieces_are_the_images_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = exportable.prepare(checkpoint.read(saved(tmp_path / "g.pth", prefixed(generator().state_dict()))))
    feeds = prepared.signature.feeds(3, range(5))
    whole = prepared.run(feeds)
    monkeypatch.setattr(exportable, "MOST_AT_ONCE", 1)
    pieces = prepared.run(feeds)
    assert np.abs(whole.exact["image"] - pieces.exact["image"]).max() < 1e-14
    assert np.abs(whole.eager["image"] - pieces.eager["image"]).max() < 1e-6


def test_wide_layers_are_compared_in_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = checkpoint.read(saved(tmp_path / "g.pth", prefixed(generator().state_dict())))
    for most, wanted in ((compare.MOST_VALUES, [1, 2, 65]), (1000, [1, 3])):
        monkeypatch.setattr(compare, "MOST_VALUES", most)
        done = publish.export(read, exporters.find("native"), tmp_path / "g.gan", Options())
        assert done.report is not None
        assert [row.batch for row in done.report.rows] == wanted
