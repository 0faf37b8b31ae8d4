"""A refusal says what the file is in the field's words, the first layer that doesn't fit, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import gan_export
from gan_export.errors import GanExportError, NotRecognizedError
from gan_export.recognize import recognize

Shapes = dict[str, tuple[int, ...]]


def shapes(model: nn.Module) -> Shapes:
    return {k: tuple(v.shape) for k, v in model.state_dict().items()}


def unet() -> nn.Module:
    net = nn.ModuleDict()
    net["down"] = nn.Sequential(nn.Conv2d(3, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1))
    net["up"] = nn.Sequential(nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 3, 3, 1, 1))
    return net


def style_based() -> nn.Module:
    net = nn.ModuleDict()
    net["mapping"] = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64))
    net["blocks"] = nn.ModuleList([nn.ModuleDict({"to_style": nn.Linear(64, 32), "conv": nn.Conv2d(32, 32, 3)})])
    return net


def with_attention() -> nn.Module:
    net = nn.ModuleDict()
    net["fc"] = nn.Linear(64, 16 * 32)
    net["up"] = nn.Sequential(nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
    net["attention"] = nn.ModuleDict({name: nn.Conv2d(16, 16, 1) for name in ("query_conv", "key_conv", "value_conv")})
    net["last"] = nn.ConvTranspose2d(16, 3, 4, 2, 1)
    return net


def diffusion() -> nn.Module:
    net = nn.ModuleDict({"init_conv": nn.Conv2d(3, 8, 7), "final_conv": nn.Conv2d(8, 3, 1)})
    net["time_mlp"] = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 32))
    return net


def two_starts() -> nn.Module:
    """A first Linear that forward doesn't use, before transposed convolutions that take z."""
    net = nn.ModuleDict({"first": nn.Sequential(nn.Linear(24, 256), nn.BatchNorm1d(256))})
    net["model"] = nn.Sequential(
        nn.ConvTranspose2d(24, 16, 4), nn.ReLU(), nn.BatchNorm2d(16), nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.ReLU(),
        nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    return net


LINEARS = nn.Sequential(nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 40))
KINDS: tuple[tuple[str, nn.Module], ...] = (
    ("an image-to-image network: down.0", unet()),
    ("a style-based generator: blocks.0.to_style", style_based()),
    ("a network of 3-D convolutions with kernels that are no cubes: 0", nn.Sequential(
        nn.ConvTranspose3d(20, 8, (2, 4, 4)), nn.ReLU(), nn.ConvTranspose3d(8, 3, 4, 2, 1),
    )),
    ("a recurrent network", nn.LSTM(8, 16)),
    ("a transformer: self_attn", nn.TransformerEncoderLayer(16, 2, 32)),
    ("a network of Linear layers, 2 from 128 features to 40", LINEARS),
    ("a classifier or an encoder", nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))),
    ("self-attention at attention.query_conv", with_attention()),
    ("a diffusion model's network, which takes a time step: time_mlp", diffusion()),
    ("first and model.0 both take 24 values, as z: if forward never uses first, delete its keys", two_starts()),
)  # fmt: skip


@pytest.mark.parametrize(("words", "model"), KINDS, ids=[words.split(":")[0] for words, _ in KINDS])
def test_it_says_what_the_file_is(words: str, model: nn.Module) -> None:
    with pytest.raises(NotRecognizedError, match=words) as refusal:
        recognize(shapes(model))
    text = str(refusal.value)
    assert "nearest" not in text, "nothing is near"
    assert "main." not in text, "no other family's keys"
    assert "classifier" in words or ("module=" in text and "docs/adding-an-architecture.md" in text)


def test_the_part_that_is_called_a_generator_is_spoken_of(tmp_path: Path) -> None:
    """Not the file as a whole, nor its critic; and no key is offered, for all of them were tried."""
    critic = nn.Sequential(nn.Conv2d(3, 64, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(64, 1, 4))
    torch.save({"netG": style_based().state_dict(), "netD": critic.state_dict()}, tmp_path / "both.pth")
    with pytest.raises(NotRecognizedError, match=r"netG: a style-based generator") as refusal:
        gan_export.load(tmp_path / "both.pth")
    assert "key=" not in str(refusal.value)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"up.lora_A.weight": (4, 32), "up.lora_B.weight": (32, 4)}, "this is a LoRA"),
        ({"stem.weight": (96, 3, 4, 4), "mlp.0.weight": (384, 96), "mlp.2.weight": (96, 384), "head.weight": (10, 96)},
         "this is a classifier or an encoder"),
    ],
)  # fmt: skip
def test_what_generates_no_images_is_said_to_be_none(shapes: Shapes, words: str) -> None:
    with pytest.raises(NotRecognizedError, match=words):
        recognize(shapes)


def test_a_tensorflow_checkpoint_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-7"\n')
    (tmp_path / "model.ckpt-7.index").write_bytes(bytes(40) + bytes.fromhex("57fb808b247547db"))
    for path in (tmp_path, tmp_path / "checkpoint", tmp_path / "model.ckpt-7.index"):
        with pytest.raises(GanExportError, match="a TensorFlow checkpoint"):
            gan_export.load(path)


def test_a_tensorflow_model_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    graph = b"\x08\x01\x12\x90\x01\x0a\x20" + b"\x0a\x0bVarHandleOp" * 9
    (tmp_path / "model" / "saved_model.pb").write_bytes(graph)
    for path in (tmp_path / "model", tmp_path / "model" / "saved_model.pb"):
        with pytest.raises(GanExportError, match="TensorFlow SavedModel"):
            gan_export.load(path)
