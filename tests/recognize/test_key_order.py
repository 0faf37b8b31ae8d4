"""The readings of last resort that trust the file's order: what they compute, what they assume, what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gan_export
from gan_export.errors import NotRecognizedError
from gan_export.graph.torch_module import build_module
from gan_export.recognize import ReadOptions, recognize
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


def normalized() -> nn.Module:
    """A BatchNorm before the last activation."""
    return nn.Sequential(
        View(32, 1, 1),
        nn.Sequential(nn.ConvTranspose2d(32, 12, 4), nn.BatchNorm2d(12), nn.ReLU()),
        nn.Sequential(nn.ConvTranspose2d(12, 3, 4, 2, 1), nn.BatchNorm2d(3)),
        nn.Tanh(),
    )


def named_blocks() -> nn.Module:
    """Blocks whose keys have no numbers between a convolution and its BatchNorm, the last one with a BatchNorm too."""
    ups = [
        Steps(deconv=nn.ConvTranspose2d(a, b, 4, 2, 1), bn=nn.BatchNorm2d(b), act=act)
        for a, b, act in ((12, 8, nn.ReLU()), (8, 3, nn.Tanh()))
    ]
    return Steps(fc=nn.Linear(32, 16 * 12), view=View(12, 4, 4), up1=ups[0], up2=ups[1])


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
    ("sequence", normalized),
    ("sequence", named_blocks),
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


class TwoInputs(nn.Module):
    """z and a one-hot label each have their own layer, and the next one takes both."""

    def __init__(self, flat: bool) -> None:
        super().__init__()
        if flat:
            self.fc1_1, self.fc1_1_bn = nn.Linear(24, 32), nn.BatchNorm1d(32)
            self.fc1_2, self.fc1_2_bn = nn.Linear(10, 16), nn.BatchNorm1d(16)
            self.fc2 = nn.Linear(48, 256)
        else:
            self.deconv1_1, self.deconv1_1_bn = nn.ConvTranspose2d(24, 32, 4), nn.BatchNorm2d(32)
            self.deconv1_2, self.deconv1_2_bn = nn.ConvTranspose2d(10, 16, 4), nn.BatchNorm2d(16)
            self.deconv2 = nn.ConvTranspose2d(48, 1, 4, 2, 1)
        self.flat = flat

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        z, y = (x if self.flat else x[:, :, None, None] for x in (z, nn.functional.one_hot(label, 10).to(z.dtype)))
        first, norm1, second, norm2, last = self.children()
        joined = torch.cat((norm1(first(z)).relu(), norm2(second(y)).relu()), 1)
        return torch.tanh(last(joined)).view(len(z), 1, -1, 16 if self.flat else 8)


@pytest.mark.parametrize("flat", [True, False])
def test_a_label_with_a_layer_of_its_own_is_read(flat: bool, tmp_path: Path) -> None:
    model = randomized(TwoInputs(flat))
    torch.save(model.state_dict(), tmp_path / "g.pth")
    read = gan_export.load(tmp_path / "g.pth")
    assert "label_order=" in {a.option for a in read.reading.unsettled}
    assert read.signature.inputs_of("label")[0].classes == 10
    z, label = torch.randn(3, 24, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 4, 9])
    with torch.no_grad():
        got, want = build_module(read.spec, read.weights)(z, label), model(z, label)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5)


def skipped() -> nn.Module:
    """Its forward may add what `fc2` takes to what it gives: the keys are those of a plain chain."""
    return Steps(fc1=nn.Linear(24, 48), fc2=nn.Linear(48, 48), fc3=nn.Linear(48, 256))


def blocks() -> nn.Module:
    parts = [Steps(a=nn.Linear(48, 96), b=nn.Linear(96, 48)) for _ in range(2)]
    return Steps(head=nn.Linear(24, 48), blocks=nn.Sequential(*parts), last=nn.Linear(48, 256))


def named_convs() -> nn.Module:
    """No numbers show an order, so that it is read by its channels."""
    return Steps(
        fc=nn.Linear(24, 16 * 12), up=nn.ConvTranspose2d(12, 8, 4, 2, 1), same=nn.Conv2d(8, 8, 3, 1, 1),
        last=nn.ConvTranspose2d(8, 3, 4, 2, 1),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("build", "around"), [(skipped, "fc2"), (blocks, "blocks.0.a to blocks.0.b"), (named_convs, "same")]
)
def test_a_sum_that_no_key_shows_is_stated(build: type[nn.Module], around: str) -> None:
    reading = recognize({k: tuple(v.shape) for k, v in build().state_dict().items()})
    (stated,) = (a for a in reading.unsettled if a.option == "module=")
    assert stated.what == f"a skip around {around}"
    assert stated.instead == ("its input is added to its output",)
    numbered = recognize({k: tuple(v.shape) for k, v in dropped().state_dict().items()})
    assert not any(a.option == "module=" for a in numbered.assumed), "a Sequential has no sums"


def test_a_shortcut_is_no_layer_of_a_chain() -> None:
    block = Steps(conv=nn.ConvTranspose2d(32, 16, 4, 2, 1), shortcut=nn.ConvTranspose2d(16, 16, 4, 2, 1))
    model = Steps(fc=nn.Linear(24, 32 * 16), block=block, last=nn.ConvTranspose2d(16, 3, 4, 2, 1))
    with pytest.raises(NotRecognizedError, match=r"block.shortcut lies beside other layers by its name"):
        recognize({k: tuple(v.shape) for k, v in model.state_dict().items()})


class Owned(nn.Module):
    """A residual block that owns its convolutions twice, as SNGAN's in several repositories: no shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, 1, 1) for _ in range(2))
        self.model = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(), nn.Upsample(scale_factor=2), self.conv1, nn.BatchNorm2d(width),
            nn.ReLU(), self.conv2,
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x) + nn.functional.interpolate(x, scale_factor=2)
        return out


def test_layers_that_the_file_has_under_two_keys_are_read_once(tmp_path: Path) -> None:
    tail = (nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 3, 3, 1, 1), nn.Tanh())
    model = randomized(
        Steps(dense=nn.Linear(32, 16 * 12), view=View(12, 4, 4), model=nn.Sequential(Owned(12), Owned(12), *tail))
    )
    torch.save(model.state_dict(), tmp_path / "g.pth")
    read = gan_export.load(tmp_path / "g.pth")
    assert read.spec.arch == "residual"
    assert "module=" in {a.option for a in read.reading.unsettled}  # what the block adds isn't in the keys
    z = torch.randn(2, 32)
    with torch.no_grad():
        torch.testing.assert_close(build_module(read.spec, read.weights)(z), model(z), rtol=0, atol=1e-5)


def up(*kernels: int) -> dict[str, tuple[int, ...]]:
    """pytorch/examples' keys with other kernels."""
    widths = (*range(8 * len(kernels), 0, -8), 3)
    shapes: dict[str, tuple[int, ...]] = {}
    for i, kernel in enumerate(kernels):
        shapes[f"main.{3 * i}.weight"] = (*widths[i : i + 2], kernel, kernel)
        if i < len(kernels) - 1:
            names = ("weight", "bias", "running_mean", "running_var")
            shapes |= {f"main.{3 * i + 1}.{p}": (widths[i + 1],) for p in names}
    return shapes


def test_kernels_whose_stride_is_open_are_asked_for() -> None:
    """One kernel of 5 among kernels of 4, a last one of 5, and kernels of 5 without padding."""
    with pytest.raises(NotRecognizedError, match=r"main.6 is a ConvTranspose2d of 5x5 among others.*image_size="):
        recognize(up(4, 4, 5, 4))
    assert recognize(up(4, 4, 5, 4), ReadOptions(image_size=32)).spec.signature.outputs[0].shape == (3, 32, 32)
    last = recognize(up(4, 4, 4, 4, 5))
    assert "96x96" in next(a for a in last.unsettled if a.option == "image_size=").instead
    assert recognize(up(5, 5, 5, 5, 8), ReadOptions(image_size=128)).spec.signature.outputs[0].shape == (3, 128, 128)


def test_a_decoder_that_crops_an_odd_size_is_another_size() -> None:
    """pythae's decoder for CIFAR has the keys and shapes of one that doubles three times: 8, 16, 33, 32."""
    convs = [
        nn.Sequential(nn.ConvTranspose2d(16, 12, 4, 2, 1), nn.BatchNorm2d(12), nn.ReLU()),
        nn.Sequential(nn.ConvTranspose2d(12, 8, 4, 2, 1, 1), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Sequential(nn.ConvTranspose2d(8, 3, 4, 1, 2), nn.Sigmoid()),
    ]
    model = randomized(Steps(layers=nn.ModuleList([nn.Linear(16, 64 * 16), *convs])))
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    assert "32x32" in next(a for a in recognize(shapes).unsettled if a.option == "image_size=").instead
    taken = recognize(shapes, ReadOptions(image_size=32)).spec.signature.outputs[0]
    z = torch.randn(2, 16)
    with torch.no_grad():
        assert taken.shape == tuple(nn.Sequential(*convs)(model.layers[0](z).view(2, 16, 8, 8)).shape[1:])  # type: ignore[operator, index]
