"""The readings of last resort that trust the file's order: what they compute, what they assume, what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gan_export
from gan_export.errors import NotRecognizedError
from gan_export.graph.torch_module import build_module
from gan_export.recognize import recognize
from gan_export.recognize.key_order import Gap, gap
from tests.originals.common import View, randomized
from tests.originals.popular import Steps


def projected() -> nn.Module:
    """A Linear with its own BatchNorm and activation, then blocks."""
    head = nn.Sequential(nn.Linear(32, 16 * 24, bias=False), nn.BatchNorm1d(16 * 24), nn.ReLU())
    ups = [
        nn.Sequential(nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
        for a, b in ((24, 12), (12, 8))
    ]
    return Steps(
        first=head, view=View(24, 4, 4), ups=nn.Sequential(*ups, nn.ConvTranspose2d(8, 3, 4, 2, 1)), end=nn.Tanh()
    )


def resized() -> nn.Module:
    """Upsample and Conv2d in one Sequential with the reshape."""
    head = (nn.Linear(32, 16 * 12), nn.BatchNorm1d(16 * 12), nn.ReLU(), nn.Unflatten(1, (12, 4, 4)))
    first = (nn.Upsample(scale_factor=2), nn.Conv2d(12, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU())
    second = (nn.Upsample(scale_factor=2), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU())
    return nn.Sequential(*head, *first, *second, nn.Conv2d(8, 3, 3, 1, 1), nn.Tanh())


def named_linears() -> nn.Module:
    return Steps(
        fc1=nn.Linear(32, 64), a=nn.ReLU(), fc2=nn.Linear(64, 128), b=nn.ReLU(), fc3=nn.Linear(128, 784), c=nn.Tanh()
    )


def dropped() -> nn.Module:
    """Dropout, and BatchNorms behind the activations."""
    return nn.Sequential(
        nn.Linear(32, 64), nn.ReLU(), nn.BatchNorm1d(64), nn.Linear(64, 128), nn.ReLU(), nn.BatchNorm1d(128),
        nn.Dropout(), nn.Linear(128, 3 * 256), nn.Tanh(),
    )  # fmt: skip


class Block(nn.Module):
    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.side = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(a, b, 1))
        self.body = nn.Sequential(
            nn.BatchNorm2d(a), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(a, b, 3, 1, 1), nn.BatchNorm2d(b),
            nn.ReLU(), nn.Conv2d(b, b, 3, 1, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.side(x) + self.body(x)
        return out


def residual() -> nn.Module:
    return nn.Sequential(
        nn.Linear(32, 16 * 12), View(12, 4, 4), Block(12, 12), Block(12, 8), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 3, 3, 1, 1), nn.Tanh(),
    )  # fmt: skip


READ = (
    ("sequence", projected),
    ("sequence", resized),
    ("sequence", named_linears),
    ("sequence", dropped),
    ("residual", residual),
)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(("arch", "build"), READ, ids=[b.__name__ for _, b in READ])
def test_it_computes_what_the_model_does(arch: str, build: type[nn.Module], whole: bool, tmp_path: Path) -> None:
    model = randomized(build())
    torch.save(model if whole else model.state_dict(), tmp_path / "g.pth")
    checkpoint = gan_export.load(tmp_path / "g.pth")
    assert checkpoint.spec.arch == arch
    assert any("generic" in note for note in checkpoint.reading.notes)
    assert any("order of the file's keys" in note for note in checkpoint.reading.notes)
    z = torch.randn(2, 32)
    with torch.no_grad():
        got, want = build_module(checkpoint.spec, checkpoint.weights)(z), model(z)
    torch.testing.assert_close(got, want.reshape(got.shape), rtol=0, atol=1e-5)


def test_an_export_of_it_is_verified(tmp_path: Path) -> None:
    torch.save(randomized(projected()).state_dict(), tmp_path / "g.pth")
    assert gan_export.export(tmp_path / "g.pth", "onnx").path.exists()


def test_an_activation_behind_the_first_linear_is_asked_for_or_read(tmp_path: Path) -> None:
    def model() -> nn.Module:
        head = nn.Sequential(nn.Linear(32, 16 * 12), nn.ReLU())
        net = nn.Sequential(
            nn.ConvTranspose2d(12, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1)
        )
        return randomized(Steps(head=head, view=View(12, 4, 4), up=net, end=nn.Tanh()))

    z = torch.randn(2, 32)
    torch.save(model().state_dict(), tmp_path / "state.pth")
    torch.save(model(), tmp_path / "whole.pth")
    state = gan_export.load(tmp_path / "state.pth")
    assert any(a.option == "first_activation=" for a in state.reading.assumed)
    flagged = gan_export.load(tmp_path / "state.pth", first_activation="on")
    whole = gan_export.load(tmp_path / "whole.pth")
    assert any("activation after the first Linear" in note for note in whole.reading.notes)
    for checkpoint in (flagged, whole):
        with torch.no_grad():
            torch.testing.assert_close(
                build_module(checkpoint.spec, checkpoint.weights)(z), model()(z), rtol=0, atol=1e-5
            )


def test_a_dropout_is_an_assumption_that_is_named() -> None:
    reading = recognize({k: tuple(v.shape) for k, v in dropped().state_dict().items()})
    assert any("Dropout" in a.value for a in reading.assumed)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("net.0", "net.1", Gap(0, True)),
        ("net.0", "net.3", Gap(2, True)),
        ("net.0.0", "net.0.1", Gap(0, True)),
        ("net.0.1", "net.1.0", Gap(0, False)),
        ("net.1", "net.3.1", Gap(2, True)),
        ("fc1", "fc2", Gap(0, False)),
        ("l1.0", "blocks.1", Gap(1, False)),
    ],
)
def test_numbers_say_what_lies_between(before: str, after: str, expected: Gap) -> None:
    assert gap(before, after) == expected


def test_nothing_is_read_that_nothing_enlarges() -> None:
    flat = nn.Sequential(
        nn.Linear(32, 16 * 12),
        nn.Unflatten(1, (12, 4, 4)),
        nn.Conv2d(12, 12, 3, 1, 1),
        nn.ReLU(),
        nn.Conv2d(12, 3, 3, 1, 1),
    )
    with pytest.raises(NotRecognizedError, match="nothing in its keys enlarges the image"):
        recognize({k: tuple(v.shape) for k, v in flat.state_dict().items()})


class Joined(nn.Module):
    """An MLP each of whose layers takes z again, or what the layer before it takes."""

    def __init__(self, z_first: bool, of_all: bool) -> None:
        super().__init__()
        self.z_first, self.of_all = z_first, of_all
        self.fc1 = nn.Linear(24, 40)
        self.fc2 = nn.Linear(40 + 24, 48)
        self.fc3 = nn.Linear(48 + (24 if of_all else 64), 256)

    def forward(self, z: Tensor) -> Tensor:
        taken = z
        for layer in (self.fc1, self.fc2):
            own = layer(taken).relu()
            pair = (own, z if self.of_all else taken)
            taken = torch.cat(pair[::-1] if self.z_first else pair, 1)
        return torch.tanh(self.fc3(taken)).view(-1, 1, 16, 16)


@pytest.mark.parametrize("of_all", [True, False])
@pytest.mark.parametrize("z_first", [True, False])
def test_linears_that_take_earlier_values_again(z_first: bool, of_all: bool, tmp_path: Path) -> None:
    model = randomized(Joined(z_first, of_all))
    torch.save(model.state_dict(), tmp_path / "g.pth")
    assert "label_order=" in {a.option for a in gan_export.load(tmp_path / "g.pth").reading.unsettled}
    read = gan_export.load(tmp_path / "g.pth", label_order="before" if z_first else "after")
    z = torch.randn(3, 24, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(build_module(read.spec, read.weights)(z), model(z), rtol=0, atol=1e-5)
