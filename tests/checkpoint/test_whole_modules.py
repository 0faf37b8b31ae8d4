"""A module saved whole says more than its keys and shapes: it is read as it is, or refused with the layer's name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from gan_export.checkpoint import ReadOptions, read
from gan_export.errors import GanExportError
from gan_export.graph.torch_module import build_module
from tests.conftest import latent_image
from tests.originals.common import Named, randomized

from .makers import saved


def stages(**change: nn.Module | None) -> nn.Sequential:
    """The classic layout, narrow; `l9=...` puts another module at that place, None takes it out."""
    parts: list[nn.Module | None] = [
        nn.ConvTranspose2d(12, 16, 4, 1, 0), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.ConvTranspose2d(4, 1, 4, 2, 1), nn.Tanh(),
    ]  # fmt: skip
    for name, module in change.items():
        parts[int(name[1:])] = module
    return nn.Sequential(*(p for p in parts if p is not None))


class Caogang(nn.Module):
    """caogang's layout, which is assumed to end in a sigmoid, with a tanh."""

    def __init__(self, last: nn.Module) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.ConvTranspose2d(16, 8, 5), nn.ReLU())
        self.block2 = nn.Sequential(nn.ConvTranspose2d(8, 4, 5), nn.ReLU())
        self.deconv_out = nn.ConvTranspose2d(4, 1, 8, stride=2)
        self.preprocess = nn.Sequential(nn.Linear(12, 256), nn.ReLU())
        self.last = last

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = self.preprocess(z.flatten(1)).view(-1, 16, 4, 4)
        return self.last(self.deconv_out(self.block2(self.block1(x)[:, :, :7, :7])))


class Block(nn.Module):
    """eriklindernoren's DCGAN, narrow."""

    def __init__(self, up: nn.Module, mode: str = "zeros") -> None:
        super().__init__()
        self.l1 = nn.Sequential(nn.Linear(12, 8 * 16))
        self.conv_blocks = nn.Sequential(
            nn.BatchNorm2d(8), up,
            nn.Conv2d(8, 8, 3, 1, 1, padding_mode=mode), nn.BatchNorm2d(8, 0.8), nn.LeakyReLU(0.2),
            up, nn.Conv2d(8, 4, 3, 1, 1), nn.BatchNorm2d(4, 0.8), nn.LeakyReLU(0.2),
            nn.Conv2d(4, 1, 3, 1, 1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.conv_blocks(self.l1(z.flatten(1)).view(-1, 8, 4, 4))


READ: dict[str, Callable[[], nn.Module]] = {
    "28x28 by padding": lambda: stages(l9=nn.ConvTranspose2d(4, 1, 4, 2, 3)),
    "output padding": lambda: stages(l6=nn.ConvTranspose2d(8, 4, 4, 2, 1, output_padding=1)),
    "stride 1": lambda: stages(l3=nn.ConvTranspose2d(16, 8, 4, 1, 0)),
    "mixed eps": lambda: stages(l1=nn.BatchNorm2d(16, eps=1e-3), l7=nn.BatchNorm2d(4, eps=0.1)),
    "mixed slopes": lambda: stages(l2=nn.LeakyReLU(0.3), l8=nn.LeakyReLU(0.05)),
    "a hidden tanh": lambda: stages(l5=nn.Tanh()),
    "a sigmoid": lambda: stages(l10=nn.Sigmoid()),
    "a bare convolution": lambda: stages(l10=None),
    "dropout": lambda: stages(l2=nn.Sequential(nn.ReLU(), nn.Dropout(0.5))),
    "within a class": lambda: Named("main", stages(l9=nn.ConvTranspose2d(4, 1, 4, 2, 3))),
    "within DataParallel": lambda: nn.DataParallel(stages(l9=nn.ConvTranspose2d(4, 1, 4, 2, 3))),
    "tanh at the end": lambda: Caogang(nn.Tanh()),
    "sigmoid": lambda: Caogang(nn.Sigmoid()),
}


@pytest.mark.parametrize("name", READ)
def test_is_read_as_it_is(tmp_path: Path, name: str) -> None:
    model = randomized(READ[name]())
    checkpoint = read(saved(tmp_path / "netG.pth", model), ReadOptions(raw="sigmoid" in name.split()))
    z = torch.randn(3, 12, 1, 1, generator=torch.Generator().manual_seed(1))
    inner = model.module if isinstance(model, nn.DataParallel) else model
    with torch.no_grad():
        want, got = inner(z), build_module(checkpoint.spec, checkpoint.weights)(z)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5 * max(1.0, float(want.abs().max())))
    assert latent_image(checkpoint.spec).image == tuple(want.shape[1:])
    stated = {a.option for a in checkpoint.reading.assumed} | {a.what for a in checkpoint.reading.assumed}
    assert not stated & {"bn_eps=", "slope=", "output=", "image_size="}
    assert not any("strides" in what for what in stated)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "ELU": (lambda: stages(l2=nn.ELU(float("nan"))), "2 has an alpha of nan"),
    "GELU": (lambda: Named("main", stages(l5=nn.GELU())), "main.5 is GELU"),
    "ReLU6": (lambda: stages(l8=nn.ReLU6()), "8 is ReLU6"),
    "InstanceNorm": (lambda: stages(l1=nn.InstanceNorm2d(16)), "1 is InstanceNorm2d"),
    "padding mode": (
        lambda: Block(nn.Upsample(scale_factor=2), "reflect"),
        "conv_blocks.2 has the padding mode",
    ),
    "dilation": (lambda: stages(l3=nn.ConvTranspose2d(16, 8, 4, 2, 1, dilation=2)), "3 has a dilation of 2"),
    "two strides": (lambda: stages(l3=nn.ConvTranspose2d(16, 8, 4, (2, 1), 1)), r"3 has a stride of \(2, 1\)"),
    "a last ReLU": (lambda: stages(l10=nn.ReLU()), "10 is ReLU at the end"),
    "pooling": (lambda: stages(l8=nn.Sequential(nn.ReLU(), nn.AvgPool2d(1))), "8.1 is AvgPool2d"),
    "two activations": (lambda: stages(l8=nn.Sequential(nn.ReLU(), nn.Tanh())), "8.1 is Tanh beside"),
    "a convolution": (lambda: stages(l3=nn.Conv2d(8, 16, 4, 2, 1)), "3"),
    "no picture": (lambda: stages(l9=nn.ConvTranspose2d(4, 1, 4, 2, 40)), "gives"),
    "a huge picture": (lambda: stages(l9=nn.ConvTranspose2d(4, 1, 4, 4000, 1)), "gives"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_by_the_layers_name(tmp_path: Path, name: str) -> None:
    build, message = REFUSED[name]
    with pytest.raises(GanExportError, match=message):
        read(saved(tmp_path / "netG.pth", build()))


def test_how_pictures_are_enlarged(tmp_path: Path) -> None:
    z = torch.randn(3, 12, generator=torch.Generator().manual_seed(1))
    for up in (
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Upsample(scale_factor=2),
        nn.UpsamplingNearest2d(None, 2),
    ):
        model = randomized(Block(up))
        checkpoint = read(saved(tmp_path / "netG.pth", model))
        with torch.no_grad():
            torch.testing.assert_close(
                build_module(checkpoint.spec, checkpoint.weights)(z), model(z), rtol=0, atol=1e-5
            )
    for up, message in (
        (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), "conv_blocks.1 enlarges by bilinear, align"),
        (nn.UpsamplingBilinear2d(scale_factor=2), "enlarges by bilinear, align"),
        (nn.Upsample(scale_factor=2, mode="bicubic"), "enlarges by bicubic"),
        (nn.Upsample(scale_factor=4), r"scale_factor 4\.0"),
    ):
        with pytest.raises(GanExportError, match=message):
            read(saved(tmp_path / "netG.pth", Block(up)))


def test_settings_can_be_anything(tmp_path: Path) -> None:
    deep: list[object] = []
    for _ in range(400):
        deep = [deep]
    for place, name in ((3, "stride"), (3, "padding"), (3, "padding_mode"), (6, "dilation"), (2, "negative_slope")):
        for value in (deep, (1, deep), "\x1b[2J" * 100, 10**400, -1, float("nan"), None, (), True):
            net = stages(l2=nn.LeakyReLU(0.3))
            setattr(net[place], name, value)
            with pytest.raises(GanExportError) as failure:
                read(saved(tmp_path / "netG.pth", net))
            assert str(failure.value).isprintable()
            assert len(str(failure.value)) < 300


def test_a_flag_that_contradicts_it_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "netG.pth", stages(l9=nn.ConvTranspose2d(4, 1, 4, 2, 3)))
    assert latent_image(read(path, ReadOptions(image_size=28)).spec).image == (1, 28, 28)
    with pytest.raises(GanExportError, match="image_size=32: the module generates images of 28x28"):
        read(path, ReadOptions(image_size=32))
    assert {la.eps for la in read(path, ReadOptions(bn_eps=0.5)).spec.layers if hasattr(la, "eps")} == {0.5}
    assert latent_image(read(path, ReadOptions(output="none")).spec).range is None


def test_a_plain_state_dict_says_what_was_assumed_of_strides(tmp_path: Path) -> None:
    assumed = read(saved(tmp_path / "g.pth", stages().state_dict())).reading.assumed
    assert any("strides" in a.what and "32x32" in a.value for a in assumed)


def quietly(module: nn.Module, given: tuple[torch.Tensor, ...], result: torch.Tensor) -> None:
    """A hook that changes nothing; a reader of the file can't know that."""


def test_a_pickled_modules_hooks_are_named(tmp_path: Path) -> None:
    net = stages()
    net[4].register_forward_hook(quietly)
    nn.utils.spectral_norm(net[0])
    net.eval()
    checkpoint = read(saved(tmp_path / "m.pt", net))
    (note,) = [n for n in checkpoint.reading.notes if "hook" in n]
    assert note.startswith(f"4 ({__name__}.quietly): ")
    assert not [n for n in read(saved(tmp_path / "n.pt", stages())).reading.notes if "hook" in n]
