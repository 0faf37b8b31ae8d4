"""What a reading says if the file contradicts it: other activations, unexplained layers, values out of range."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gan_export
from gan_export import latents
from gan_export.errors import GanExportError
from gan_export.graph.torch_module import build_module
from tests.conftest import Command, refused

NZ = 16


class Chain(nn.Module):
    """Transposed convolutions with three BatchNorms, under pytorch/examples' keys."""

    def __init__(self, activation: Callable[[], nn.Module] = nn.ReLU) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ConvTranspose2d(NZ, 32, 2, 1, 0, bias=False)]
        for a, b in ((32, 24), (24, 16), (16, 1)):
            layers += [nn.BatchNorm2d(a), activation(), nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False)]
        self.main = nn.Sequential(*layers, nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.main(z[:, :, None, None])
        return out


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "g.pth"


def with_statistics(net: nn.Module) -> nn.Module:
    """Fill the running statistics with those of latents, as after a training with a small learning rate."""
    torch.manual_seed(0)
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = None
            nn.init.uniform_(norm.weight, 0.6, 1.4)
            nn.init.normal_(norm.bias, 0, 0.3)
    with torch.no_grad():
        for _ in range(4):
            net.train()(torch.randn(256, NZ))
    for name, buffer in net.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer.fill_(1000)
    return net.eval()


def off(net: nn.Module, read: gan_export.Checkpoint) -> float:
    z = torch.from_numpy(latents.draw(0, 0, 8, NZ))
    with torch.no_grad():
        return float((build_module(read.spec, read.weights)(z) - net(z)).abs().max())


def test_elu_is_found_by_evidence_and_set_by_a_flag(path: Path, command: Command) -> None:
    net = with_statistics(Chain(nn.ELU))
    torch.save(net.state_dict(), path)
    read = gan_export.load(path)
    assert read.overrides.slope == "elu"
    (hidden,) = (c for c in (*read.reading.found, *read.reading.assumed) if c.option == "slope=")
    assert hidden.value == "ELU"
    assert "ReLU (slope 0)" not in hidden.instead or hidden in read.reading.found
    assert off(net, read) < 1e-5
    assert off(net, gan_export.load(path, slope=("elu", "elu", 0.0))) > 0.01
    with pytest.raises(GanExportError, match="0 to 1, or elu"):
        gan_export.load(path, slope="selu")  # type: ignore[arg-type]
    assert "a number or elu" in refused(command("gan-export", "inspect", path, "--slope", "elu,gelu"))


def test_statistics_of_other_layers_are_told_apart_from_statistics_that_lag(path: Path, command: Command) -> None:
    state = with_statistics(Chain()).state_dict()
    assert not any(a.option == "module=" for a in saved_and_read(state, path).reading.unsettled)
    state["main.4.running_mean"] += 2 * state["main.4.running_var"].sqrt()
    (contradicted,) = (a for a in saved_and_read(state, path).reading.unsettled if a.option == "module=")
    assert contradicted.what == "the layers between bn0 and bn1"
    assert "would only hide it" in contradicted.figure
    assert "between bn0 and bn1" in refused(command("gan-export", "inspect", path, "--strict"))
    for name in ("main.1", "main.4", "main.7"):
        state[f"{name}.running_var"] *= 9
    read = saved_and_read(state, path)
    assert "lag behind the weights" in read.reading.unchecked
    assert "recalibrate=1024" in read.reading.unchecked
    assert not any(a.option == "module=" for a in read.reading.unsettled)


def saved_and_read(state: dict[str, Tensor], path: Path) -> gan_export.Checkpoint:
    torch.save(state, path)
    return gan_export.load(path)


@pytest.mark.parametrize(("scale", "left"), [(0.3, ("a sigmoid", "none")), (20.0, ("a sigmoid",))])
def test_the_range_before_the_last_activation_is_stated(scale: float, left: tuple[str, ...], path: Path) -> None:
    """Values that no image without an activation has rule that out; between tanh and a sigmoid they decide nothing."""
    net = with_statistics(Chain())
    with torch.no_grad():
        net.main[9].weight *= scale  # type: ignore[operator]
    read = saved_and_read(net.state_dict(), path)
    (output,) = (a for a in read.reading.assumed if a.option == "output=")
    assert output.instead == left
    assert output.figure.startswith("the values before it lie in ")


@pytest.mark.parametrize(("activation", "word"), [(nn.SELU, "SELU (module=)"), (nn.SiLU, "SiLU (module=)")])
def test_activations_that_no_flag_sets_are_never_settled_as_others(
    activation: Callable[[], nn.Module], word: str, path: Path
) -> None:
    read = saved_and_read(with_statistics(Chain(activation)).state_dict(), path)
    (hidden,) = (a for a in read.reading.unsettled if a.option == "slope=")
    assert word in hidden.instead
    assert "LeakyReLU 0.2" not in hidden.instead, "the statistics rule it out"
    assert "nearer to the stored statistics" in hidden.figure


def test_an_activation_that_no_batchnorm_comes_before_is_not_settled_by_others(path: Path) -> None:
    """The last convolution but one has none, and what follows it may be another activation."""
    net = Chain(nn.ReLU)
    net.main = nn.Sequential(
        *list(net.main)[:9], nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False), nn.SELU(), nn.Conv2d(8, 1, 3, 1, 1),
        nn.Tanh(),
    )  # fmt: skip
    read = saved_and_read(with_statistics(net).state_dict(), path)
    assert any(a.option == "slope=" for a in read.reading.unsettled)
