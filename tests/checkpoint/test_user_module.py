"""A module of the user's own: imported by name, loaded strictly, its signature stated or found by trying."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gan_export.checkpoint import user_module
from gan_export.errors import GanExportError
from gan_export.graph.ports import Normal, Port, Size
from gan_export.graph.signature import Signature

SOURCE = '''
import torch
from torch import nn
import helper_of_mine


class Plain(nn.Module):
    def __init__(self, nz=10, width=8):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(nz, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 48))

    def forward(self, z):
        return torch.tanh(self.body(z)).view(-1, 3, 4, 4)


class Maps(nn.Module):
    """Keyword-only, two inputs of free sizes, a dict of two outputs."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.style = nn.Linear(5, 4)
        self.register_buffer("steps", torch.arange(4))

    def forward(self, *, photo, style):
        h = torch.relu(self.conv(photo) + self.style(style)[:, :, None, None] + self.steps[:, None, None])
        large = torch.nn.functional.interpolate(h, scale_factor=2.0, mode="nearest")
        return {"extra": h.sum(), "mask": torch.sigmoid(h.mean(1)), "image": torch.tanh(large[:, :3])}


class Random(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(4, 4)

    def forward(self, z):
        return self.line(z) + torch.randn(len(z), 4)


def not_a_class():
    return 3
'''
MAPS = Signature(
    (Port("photo", "image", (3, "H", "W")), Port("style", "style", (5,), prior=Normal())),
    (
        Port("image", "image", (3, "H*2", "W*2"), range=(-1, 1)),
        Port("mask", "values", ("H", "W"), range=(0, 1)),
    ),
    sizes={"H": Size(4, 2, 256), "W": Size(4, 1, 256)},
)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with the user's code, under a name that no other test has imported."""
    name = f"mine_{abs(hash(tmp_path))}"
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / f"{name}.py").write_text(SOURCE)
    (tmp_path / "code" / "helper_of_mine.py").write_text("")
    return tmp_path / "code" / f"{name}.py"


def built(mine: Path, name: str, **kwargs: Any) -> nn.Module:
    torch.manual_seed(0)
    module: nn.Module = user_module.import_class(f"{mine.stem}:{name}", [mine.parent])(**kwargs)
    return module.eval()


def test_a_class_is_imported_and_its_weights_are_loaded(mine: Path, tmp_path: Path) -> None:
    module = built(mine, "Plain", nz=7)
    torch.save({"netG": {f"module.{k}": v for k, v in module.state_dict().items()}}, tmp_path / "g.pth")
    user = user_module.from_class(tmp_path / "g.pth", f"{mine.stem}:Plain", kwargs={"nz": 7}, search=[mine.parent])
    assert user.arch == "Plain"
    assert user.source.key == "netG"
    assert [p.shape for p in user.signature.inputs] == [(7,)]
    assert user.signature.outputs[0] == Port("image", "image", (3, 4, 4), range=(-1, 1))
    assert "7 values" in user.assumed[0]
    z = torch.from_numpy(user.signature.feeds(3, range(5))["z"])
    with torch.inference_mode():
        assert torch.equal(user.graph(z), module(z))
    assert str(mine.parent) not in sys.path


def test_keyword_only_inputs_and_a_dict_of_outputs_have_the_ports_names(mine: Path, tmp_path: Path) -> None:
    module = built(mine, "Maps")
    torch.save(module.state_dict(), tmp_path / "g.pth")
    user = user_module.from_class(tmp_path / "g.pth", f"{mine.stem}:Maps", search=[mine.parent], signature=MAPS)
    feeds = {n: torch.from_numpy(a) for n, a in MAPS.feeds(1, range(2), sizes={"H": 6, "W": 9}).items()}
    with torch.inference_mode():
        image, mask = user.graph(*feeds.values())
        wanted = module(**feeds)
    assert torch.equal(image, wanted["image"])
    assert torch.equal(mask, wanted["mask"])
    assert tuple(image.shape) == MAPS.output_shapes(2, {"H": 6, "W": 9})["image"]
    doubled = user_module.double(user)
    assert doubled is not None
    assert doubled(*[t.double() for t in feeds.values()])[0].dtype == torch.float64
    assert next(user.graph.parameters()).dtype == torch.float32


def test_a_module_in_memory_is_copied_and_left_alone(mine: Path) -> None:
    module = built(mine, "Plain").train().double()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    user = user_module.from_module(module)
    assert module.training
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert user.source.sha256 == user_module.from_module(module).source.sha256
    with torch.no_grad():
        next(module.parameters()).add_(1)
    assert user.source.sha256 != user_module.from_module(module).source.sha256


def test_a_latent_of_four_dimensions_is_found_by_trying() -> None:
    module = nn.Sequential(nn.ConvTranspose2d(17, 5, 4), nn.ReLU(), nn.ConvTranspose2d(5, 1, 4, 2, 1), nn.Tanh())
    user = user_module.from_module(module)
    assert user.signature.input("z").shape == (17, 1, 1)
    assert user.signature.outputs[0].shape == (1, 8, 8)


def test_buffers_of_whole_numbers_are_loaded(mine: Path, tmp_path: Path) -> None:
    module = built(mine, "Maps")
    module.steps.copy_(torch.tensor([5, -6, 1 << 40, 0]))  # type: ignore[operator,union-attr]
    torch.save(module.state_dict(), tmp_path / "g.pth")
    user = user_module.from_class(tmp_path / "g.pth", f"{mine.stem}:Maps", search=[mine.parent], signature=MAPS)
    assert user.graph.get_submodule("generator").steps.tolist() == [5, -6, 1 << 40, 0]  # type: ignore[operator,union-attr]


def change(state: dict[str, torch.Tensor], how: str) -> dict[str, torch.Tensor]:
    match how:
        case "fewer":
            return {k: v for k, v in state.items() if k != "body.0.bias"}
        case "more":
            return {**state, "body.9.weight": torch.zeros(3)}
        case "shape":
            return {**state, "body.0.bias": torch.zeros(3)}
        case "type":
            return {**state, "body.0.bias": torch.zeros(8, dtype=torch.int64)}
        case "many":
            return {f"x{k}": v for k, v in state.items()}
    raise AssertionError(how)


@pytest.mark.parametrize(("how", "message"), [
    ("fewer", "body.0.bias is missing"),
    ("more", "body.9.weight is not in the class"),
    ("shape", "body.0.bias is (3,), the class has (8,)"),
    ("type", "body.0.bias is int64, the class has floats"),
    ("many", "and 12 more"),
])  # fmt: skip
def test_a_wrong_class_says_which_keys_differ(mine: Path, tmp_path: Path, how: str, message: str) -> None:
    torch.save(change(built(mine, "Plain").state_dict(), how), tmp_path / "g.pth")
    with pytest.raises(GanExportError, match=r"^g\.pth: its keys are not those of the class: [^\n]*$") as e:
        user_module.from_class(tmp_path / "g.pth", f"{mine.stem}:Plain", search=[mine.parent])
    assert message in str(e.value)


def test_the_state_dict_that_fits_is_taken_of_several(mine: Path, tmp_path: Path) -> None:
    module = built(mine, "Plain")
    other = {k: v + 1 for k, v in module.state_dict().items()}
    torch.save({"a": nn.Linear(3, 3).state_dict(), "b": module.state_dict(), "c": other}, tmp_path / "g.pth")
    target, path = f"{mine.stem}:Plain", tmp_path / "g.pth"
    assert user_module.from_class(path, target, search=[mine.parent]).source.key == "b"
    assert user_module.from_class(path, target, search=[mine.parent], key="c").source.key == "c"
    with pytest.raises(GanExportError, match="it has no state dict d"):
        user_module.from_class(path, target, search=[mine.parent], key="d")
    with pytest.raises(GanExportError, match="its keys are not those of the class"):
        user_module.from_class(path, target, search=[mine.parent], key="a")


@pytest.mark.parametrize(("target", "kwargs", "message"), [
    ("Plain", {}, "name it as package.module:Class"),
    ("no_such_module_here:Plain", {}, "can't be imported: ModuleNotFoundError"),
    ("{}:Other", {}, "has no Other"),
    ("{}:Plain", {"depth": 3}, "(depth=3) can't be made: TypeError"),
    ("{}:not_a_class", {}, "returns int, not a torch.nn.Module"),
])  # fmt: skip
def test_a_class_that_can_not_be_had_is_refused_in_one_line(
    mine: Path, tmp_path: Path, target: str, kwargs: dict[str, Any], message: str
) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "g.pth")
    with pytest.raises(GanExportError, match=r"^[^\n]*$") as e:
        user_module.from_class(tmp_path / "g.pth", target.format(mine.stem), kwargs=kwargs, search=[mine.parent])
    assert message in str(e.value)


def image(*shape: int) -> Port:
    return Port("image", "values", shape)


@pytest.mark.parametrize(("name", "inputs", "outputs", "message"), [
    ("Plain", (Port("z", "latent", (9,), prior=Normal()),), (image(3, 4, 4),), "Plain can't run on z (2, 9)"),
    ("Plain", (Port("z", "latent", (10,), prior=Normal()),), (image(3, 4, 5),), "image as float32 (2, 3, 4, 4)"),
    (
        "Plain",
        (Port("z", "latent", (10,), prior=Normal()), Port("y", "label", classes=3)),
        (image(3, 4, 4),),
        "Plain.forward takes z; the signature's inputs are z, y",
    ),
    (
        "Plain",
        (Port("z", "latent", (10,), prior=Normal()),),
        (image(3, 4, 4), Port("mask", "values", (1,))),
        "one array, the signature states 2 outputs",
    ),
    ("Maps", (Port("z", "latent", (9,), prior=Normal()),), (image(3),), "Maps.forward takes photo, style"),
    ("Maps", MAPS.inputs, (Port("depth", "values", ("H", "W")),), "image, without the signature's output depth"),
    ("Random", (Port("z", "latent", (4,), prior=Normal()),), (image(4),), "its forward uses random numbers"),
])  # fmt: skip
def test_a_signature_that_is_not_the_modules_is_refused_in_one_line(
    mine: Path, name: str, inputs: tuple[Port, ...], outputs: tuple[Port, ...], message: str
) -> None:
    sizes = MAPS.sizes if inputs is MAPS.inputs else {}
    with pytest.raises(GanExportError, match=r"^[^\n]*$") as e:
        user_module.from_module(built(mine, name), Signature(inputs, outputs, sizes))
    assert message in str(e.value)


def test_a_module_of_which_nothing_can_be_found_asks_for_a_signature(mine: Path) -> None:
    with pytest.raises(GanExportError, match="state its inputs by a signature"):
        user_module.from_module(built(mine, "Maps"))


def test_a_module_that_is_float32_in_its_code_has_no_float64(mine: Path) -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(3, 2)

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return self.line(z.float())

    user = user_module.from_module(Stubborn())
    assert user_module.double(user) is None
    assert np.isfinite(user.graph(torch.zeros(1, 3)).numpy()).all()
