"""Strides that no key shows: settled by the statistics, or stated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gan_export
from gan_export.checkpoint import Checkpoint
from gan_export.graph.torch_module import build_module

NZ = 32


class Ladder(nn.Module):
    """Transposed convolutions with a BatchNorm behind each but the last, by (kernel, stride, padding)."""

    def __init__(self, *layers: tuple[int, int, int], norms: bool = True) -> None:
        super().__init__()
        widths = (NZ, *range(8 * len(layers), 8, -8), 1)
        found: list[nn.Module] = []
        for i, layer in enumerate(layers):
            found.append(nn.ConvTranspose2d(widths[i], widths[i + 1], *layer, bias=False))
            if i < len(layers) - 1:
                found += [*([nn.BatchNorm2d(widths[i + 1])] if norms else []), nn.ReLU()]
        self.up = nn.Sequential(*found, nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.up(z[:, :, None, None])
        return out


def assert_same(read: Checkpoint, model: nn.Module) -> None:
    z = torch.randn(3, NZ)
    with torch.no_grad():
        torch.testing.assert_close(build_module(read.spec, read.weights)(z), model(z), rtol=0, atol=1e-5)


def moving(model: nn.Module) -> nn.Module:
    """Leave the statistics of a training: momentum 0.1, weights that move in each step, a last batch of 2."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(5)
        for p in model.parameters():
            if p.dim() == 4:
                p.normal_(0, 0.2)
        for step in range(45):
            for p in model.parameters():
                p.add_(torch.randn_like(p), alpha=0.002)
            model.train()(torch.randn(2 if step == 44 else 12, NZ))
    return model.eval()


@pytest.mark.parametrize(
    ("layers", "side"),
    [
        pytest.param(((4, 1, 0), (4, 4, 0), (4, 2, 1)), 32, marks=pytest.mark.long),
        (((4, 1, 0), (4, 1, 0), (4, 2, 1), (4, 2, 1)), 28),
    ],
)
def test_the_statistics_bring_up_strides_that_are_rare(
    layers: tuple[tuple[int, int, int], ...], side: int, tmp_path: Path
) -> None:
    """Kernels of 4 with a stride of 4, and with a stride of 1, from 4 to MNIST's 7."""
    model = moving(Ladder(*layers))
    torch.save(model.state_dict(), tmp_path / "g.pth")
    read = gan_export.load(tmp_path / "g.pth")
    assert read.overrides.image_size == side, (read.reading.assumed, read.reading.found)
    assert_same(read, model)


def test_an_output_padding_that_no_statistics_show_is_named(tmp_path: Path) -> None:
    """The other way to MNIST's 7, a kernel of 3: its statistics are nearly those of 8."""
    model = moving(Ladder((4, 1, 0), (3, 2, 1), (4, 2, 1)))
    torch.save(model.state_dict(), tmp_path / "g.pth")
    read = gan_export.load(tmp_path / "g.pth")
    assert "14x14" in next(a for a in read.reading.unsettled if a.option == "image_size=").instead
    assert_same(gan_export.load(tmp_path / "g.pth", image_size=14), model)


def test_without_statistics_a_generic_reading_leaves_strides_unsettled(tmp_path: Path) -> None:
    model = Ladder((4, 4, 0), (4, 4, 0), (2, 2, 0), norms=False)
    torch.save({f"layers.{k}": v for k, v in nn.ModuleDict({"a": model, "b": nn.Conv2d(1, 1, 3)}).state_dict().items()},
               tmp_path / "g.pth")  # fmt: skip
    open_still = {a.option: a for a in gan_export.load(tmp_path / "g.pth").reading.unsettled}
    assert "rarer" in open_still["image_size="].instead[0]
    assert gan_export.load(tmp_path / "g.pth", image_size=32).spec.signature.outputs[0].shape == (1, 32, 32)
