"""Generators that take images, read from files as their training code leaves them, against their restatements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from gan_export import checkpoint, latents
from gan_export.checkpoint import Checkpoint
from gan_export.checkpoint.exportable import prepare
from gan_export.errors import GanExportError
from gan_export.recognize.options import ReadOptions
from gan_export.verification import batchnorm
from tests.originals.images_in import (
    IMAGE_ORIGINALS,
    ORIGINALS_BY_NAME,
    ImageOriginal,
    JunyanzResnet,
    JunyanzUnet,
    Srvgg,
    image_reading,
    randomized,
    stored_reading,
)

every = pytest.mark.parametrize("original", IMAGE_ORIGINALS, ids=lambda o: o.name)
CLOSE = 2e-5  # of outputs of a range of 1 or 2, some hundred layers deep in float32


def saved(folder: Path, original: ImageOriginal, model: nn.Module, *, zipped: bool = True) -> Path:
    path = folder / "latest_net_G.pth"
    torch.save(original.container(model), path, _use_new_zipfile_serialization=zipped)
    return path


def generated(read: Checkpoint, x: Tensor, **others: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    feeds = read.signature.check({"input": x.numpy(), **others})
    return prepare(read).run(feeds).eager["image"]


def usual(original: ImageOriginal) -> tuple[int, int]:
    """A height and a width that differ."""
    side = -(-24 // original.multiple) * original.multiple
    side = max(side, original.least)
    return side, side + 2 * original.multiple


@every
def test_it_is_read_from_the_file_alone(original: ImageOriginal, tmp_path: Path) -> None:
    model = original.model()
    read = checkpoint.read(saved(tmp_path, original, model))
    x = original.images(2, *usual(original))
    want = original.expected(model, x).numpy()
    assert read.arch == original.arch
    assert want.std() > 0.05
    np.testing.assert_allclose(generated(read, x), want, rtol=0, atol=CLOSE)
    assert want.shape[2:] == tuple(original.scale * n for n in x.shape[2:])


WIDE = ("resnet_6blocks batch", "CUT", "Real-ESRGAN x4", "SRVGGNetCompact x4", "leftthomas")


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "width", "size"),
    [*((name, 48, (124, 212)) for name in (*WIDE, "unet_128 batch")), *((name, 96, (40, 72)) for name in WIDE)],
)
def test_other_widths_and_sizes_are_read(name: str, width: int, size: tuple[int, int], tmp_path: Path) -> None:
    original = ORIGINALS_BY_NAME[name]
    model = original.model(width)
    read = checkpoint.read(saved(tmp_path, original, model))
    height, across = (max(-(-side // original.multiple) * original.multiple, original.least) for side in size)
    x = original.images(1, height, across)
    np.testing.assert_allclose(generated(read, x), original.expected(model, x).numpy(), rtol=0, atol=CLOSE)


@every
def test_its_signature_says_what_it_takes(original: ImageOriginal, tmp_path: Path) -> None:
    signature = checkpoint.read(saved(tmp_path, original, original.model())).signature
    (port,), (image,) = signature.inputs, signature.outputs
    assert (port.name, port.kind, port.shape, port.range) == (
        "input", "image", (original.channels[0], "H", "W"), original.range,
    )  # fmt: skip
    assert (image.name, image.shape[0], image.range) == ("image", original.channels[1], original.range)
    assert {s.multiple for s in signature.sizes.values()} == {original.multiple}
    height, width = usual(original)
    got = signature.output_shapes(1, {"H": height, "W": width})["image"]
    assert got == (1, original.channels[1], original.scale * height, original.scale * width)


@pytest.mark.parametrize(
    "name", ["resnet_9blocks batch dropout", "resnet_6blocks batch", "unet_128 batch", "leftthomas", "Lornatang"]
)
def test_batch_norm_is_read_either_way(name: str, tmp_path: Path) -> None:
    original = ORIGINALS_BY_NAME[name]
    model = original.model(seed=3)
    path = saved(tmp_path, original, model)
    x = original.images(2, *usual(original))
    by_image = generated(checkpoint.read(path, ReadOptions(norm="image")), x)
    stored = generated(checkpoint.read(path, ReadOptions(norm="stored")), x)
    np.testing.assert_allclose(by_image, image_reading(model, x).numpy(), rtol=0, atol=CLOSE)
    np.testing.assert_allclose(stored, stored_reading(model, x).numpy(), rtol=0, atol=CLOSE)
    assert np.abs(by_image - stored).max() > 0.05


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("resnet_6blocks batch", "each image by itself"),
        ("unet_128 batch", "each image by itself"),
        ("leftthomas", "stored"),
    ],
)
def test_the_reading_of_a_batch_norm_is_stated(name: str, shown: str, tmp_path: Path) -> None:
    original = ORIGINALS_BY_NAME[name]
    assumed = checkpoint.read(saved(tmp_path, original, original.model())).reading.assumed
    (norm,) = (a for a in assumed if a.option == "norm=")
    assert shown in norm.value


def test_stored_statistics_are_not_held_against_those_of_made_up_images(tmp_path: Path) -> None:
    original = ORIGINALS_BY_NAME["resnet_6blocks batch"]
    read = checkpoint.read(saved(tmp_path, original, original.model()), ReadOptions(norm="stored"))
    assert batchnorm.check(read) == ()
    with pytest.raises(GanExportError, match=r"recalibrate=: .*this generator takes images; .* norm=image"):
        batchnorm.recalibrated(read, 64)
    weights = dict(read.weights) | {"norm_in.running_var": np.full_like(read.weights["norm_in.running_var"], np.nan)}
    with pytest.raises(GanExportError, match=r"norm_in: its running statistics are NaN.*; norm=image doesn't use them"):
        batchnorm.refuse_unusable(replace(read, weights=weights))


def test_the_option_of_a_batch_norm_is_refused_if_there_is_none(tmp_path: Path) -> None:
    original = ORIGINALS_BY_NAME["resnet_6blocks instance"]
    with pytest.raises(GanExportError, match="norm=: junyanz_resnet as it is in this file has no choice"):
        checkpoint.read(saved(tmp_path, original, original.model()), ReadOptions(norm="stored"))


def test_an_activation_without_keys_is_assumed_and_named(tmp_path: Path) -> None:
    original = ORIGINALS_BY_NAME["SRVGGNetCompact x2"]
    x = original.images(1, 9, 14)
    leaky = randomized(Srvgg(8, 2, 2, activation=lambda: nn.LeakyReLU(0.1)))
    path = saved(tmp_path, original, leaky)
    assumed = checkpoint.read(path).reading.unsettled
    assert [(a.value, a.instead, a.option) for a in assumed] == [("ReLU (slope 0)", ("LeakyReLU 0.1",), "slope=")]
    relu = Srvgg(8, 2, 2, activation=nn.ReLU)
    relu.load_state_dict(leaky.state_dict())
    for options, model in ((None, relu), (ReadOptions(slope=0.1), leaky)):
        want = stored_reading(model, x).numpy()
        np.testing.assert_allclose(generated(checkpoint.read(path, options), x), want, rtol=0, atol=CLOSE)
    torch.save({f"net.{k}": v for k, v in leaky.body.state_dict().items()}, path)
    with pytest.raises(GanExportError):  # any plain stack of convolutions has such shapes
        checkpoint.read(path)


def test_a_batch_is_normalized_image_by_image(tmp_path: Path) -> None:
    """A BatchNorm in training mode would mix the images of a batch; test.py takes one at a time."""
    original = ORIGINALS_BY_NAME["resnet_6blocks batch"]
    read = checkpoint.read(saved(tmp_path, original, original.model()))
    x = original.images(3, 24, 32)
    together = generated(read, x)
    apart = np.concatenate([generated(read, x[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(together, apart, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("blocks", "dropout"), [(6, False), (6, True), (9, False), (9, True), (4, False)])
def test_the_second_convolution_of_a_block_is_found_with_and_without_dropout(
    blocks: int, dropout: bool, tmp_path: Path
) -> None:
    model = randomized(JunyanzResnet(4, blocks, "batch", dropout=dropout))
    torch.save(model.state_dict(), tmp_path / "g.pth")
    keys = model.state_dict().keys()
    assert f"model.10.conv_block.{6 if dropout else 5}.weight" in keys
    read = checkpoint.read(tmp_path / "g.pth")
    x = ORIGINALS_BY_NAME["resnet_6blocks batch"].images(1, 16, 20)
    np.testing.assert_allclose(generated(read, x), image_reading(model, x).numpy(), rtol=0, atol=CLOSE)
    assert any(a.option == "dropout=" for a in read.reading.assumed) == dropout


def test_statistics_of_an_old_files_instance_norms_are_ignored(tmp_path: Path) -> None:
    original = ORIGINALS_BY_NAME["resnet_9blocks tracked"]
    read = checkpoint.read(saved(tmp_path, original, original.model(), zipped=False))
    ignored = [key for key in read.source.ignored if "running" in key]
    assert len(ignored) == 2 * 23  # 23 norms of a resnet_9blocks
    assert not any(a.option == "norm=" for a in read.reading.assumed)


@pytest.mark.parametrize("blocks", [6, 23])
def test_any_number_of_rrdb_blocks_is_read(blocks: int, tmp_path: Path) -> None:
    from tests.originals.images_in import Rrdb, realesrgan_container

    model = randomized(Rrdb(8, blocks, 4))
    torch.save(realesrgan_container(model), tmp_path / "RealESRGAN_x4plus.pth")
    read = checkpoint.read(tmp_path / "RealESRGAN_x4plus.pth")
    assert read.source.key == "params_ema"
    assert sum(layer.name.endswith("dense3") for layer in read.spec.layers) == blocks
    x = ORIGINALS_BY_NAME["Real-ESRGAN x4"].images(1, 12, 10)
    want = stored_reading(model, x).numpy()
    np.testing.assert_allclose(generated(read, x), want, rtol=0, atol=CLOSE * max(1.0, float(np.abs(want).max())))


@pytest.mark.parametrize(("name", "channels"), [("Real-ESRGAN x2", 12), ("Real-ESRGAN x1", 48)])
def test_more_channels_at_the_input_are_a_pixel_unshuffle(name: str, channels: int, tmp_path: Path) -> None:
    original = ORIGINALS_BY_NAME[name]
    read = checkpoint.read(saved(tmp_path, original, original.model()))
    first = next(layer for layer in read.spec.layers if layer.name == "conv_first")
    assert first.parameters()["weight"][1] == channels
    assert read.signature.inputs[0].shape[0] == 3


def masked(model: nn.Module, x: Tensor, read: Checkpoint, seed: int, index: int) -> Tensor:
    """The model with dropout on, by the law's masks, for one image."""
    twin = image_reading_modules(model)
    drops = [m for m in twin.modules() if isinstance(m, nn.Dropout)]
    for drop, port in zip(order_of_use(twin, drops, x), read.signature.inputs[1:], strict=True):
        shape = port.dims({"H": x.shape[2], "W": x.shape[3]})
        k = port.stream - latents.STREAM_DROPOUT.start  # type: ignore[operator]
        keeps = latents.dropout_keeps(seed, np.array([index], np.uint64), int(np.prod(shape)), 0.5, k)
        mask = torch.from_numpy(keeps.reshape(1, *shape)) * 2.0
        drop.register_forward_hook(lambda module, args, made, mask=mask: args[0] * mask)
    with torch.no_grad():
        out: Tensor = twin(x)
    return out


def image_reading_modules(model: nn.Module) -> nn.Module:
    model.train()
    for m in model.modules():
        if isinstance(m, nn.Dropout):
            m.eval()
    return model


def order_of_use(model: nn.Module, drops: list[nn.Dropout], x: Tensor) -> list[nn.Dropout]:
    """By the width of what they drop if that differs with their depth: the U-Net runs its innermost one first."""
    called: list[nn.Dropout] = []
    hooks = [d.register_forward_hook(lambda module, args, made: called.append(module)) for d in drops]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return called[::-1] if isinstance(model, JunyanzUnet) else called


@pytest.mark.parametrize("name", ["resnet_9blocks batch dropout", "unet_128 batch"])
def test_dropout_by_seed_drops_what_the_law_drops(name: str, tmp_path: Path) -> None:
    original = ORIGINALS_BY_NAME[name]
    model = original.model()
    read = checkpoint.read(saved(tmp_path, original, model), ReadOptions(dropout="seed"))
    x = original.images(1, *usual(original))
    feeds = read.signature.feeds(5, [7], input=x.numpy())
    got = prepare(read).run(feeds).eager["image"]
    np.testing.assert_allclose(got, masked(model, x, read, 5, 7).numpy(), rtol=0, atol=CLOSE)
    assert np.abs(got - generated(checkpoint.read(saved(tmp_path, original, model)), x)).max() > 0.01


def test_a_discriminator_of_patches_is_none_of_these(tmp_path: Path) -> None:
    """junyanz's `basic` netD, whose first keys are those of a U-Net's or a ResNet's."""
    layers: list[nn.Module] = [nn.Conv2d(6, 8, 4, 2, 1), nn.LeakyReLU(0.2)]
    for a, b, stride in ((8, 16, 2), (16, 32, 2), (32, 64, 1)):
        layers += [nn.Conv2d(a, b, 4, stride, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)]
    critic = nn.Module()
    critic.model = nn.Sequential(*layers, nn.Conv2d(64, 1, 4, 1, 1))
    torch.save(critic.state_dict(), tmp_path / "latest_net_D.pth")
    with pytest.raises(GanExportError, match=r"latest_net_D\.pth"):
        checkpoint.read(tmp_path / "latest_net_D.pth")


OPTIONS = """----------------- Options ---------------
               batch_size: 1
                direction: BtoA                \t[default: AtoB]
                     norm: batch
               no_dropout: False
                     eval: {eval}
----------------- End -------------------
"""


def test_the_options_beside_the_file_are_told(tmp_path: Path) -> None:
    original = ORIGINALS_BY_NAME["unet_128 batch"]
    path = saved(tmp_path, original, original.model())
    (tmp_path / "train_opt.txt").write_text(OPTIONS.format(eval="False"))
    read = checkpoint.read(path)
    assert any(
        "norm batch, direction BtoA, dropout, which its test.py leaves on" in note for note in read.reading.notes
    )
    assert read.overrides.norm == "image"


def test_a_script_that_calls_eval_takes_the_stored_statistics(tmp_path: Path) -> None:
    original = ORIGINALS_BY_NAME["unet_128 batch"]
    path = saved(tmp_path, original, original.model())
    (tmp_path / "test_opt.txt").write_text(OPTIONS.format(eval="True"))
    assert checkpoint.read(path).overrides.norm == "stored"
    assert checkpoint.read(path, ReadOptions(norm="image")).overrides.norm == "image"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"eval: " * 40000, b"a" * 100000, b"eval:\x1b[31mTrue\n"])
def test_another_file_of_that_name_does_no_harm(content: bytes, tmp_path: Path) -> None:
    original = ORIGINALS_BY_NAME["resnet_6blocks batch"]
    path = saved(tmp_path, original, original.model(4))
    (tmp_path / "train_opt.txt").write_bytes(content)
    read = checkpoint.read(path)
    assert read.overrides.norm == "image"
    assert all(note.isprintable() for note in read.reading.notes)


def test_the_size_can_be_fixed(tmp_path: Path) -> None:
    original = ORIGINALS_BY_NAME["Real-ESRGAN x2"]
    path = saved(tmp_path, original, original.model())
    read = checkpoint.read(path, ReadOptions(size="32x48"))
    (port,), (image,) = read.signature.inputs, read.signature.outputs
    assert (port.shape, image.shape, read.signature.sizes) == ((3, 32, 48), (3, 64, 96), {})
    with pytest.raises(GanExportError, match="H is 31; it must be a multiple of 2 from 4"):
        checkpoint.read(path, ReadOptions(size="31x48"))
    with pytest.raises(GanExportError, match="size=48: a height and a width"):
        checkpoint.read(path, ReadOptions(size="48"))
