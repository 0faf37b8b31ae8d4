"""Images through generators that take images: files of any kind, sizes that don't fit, and what is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from gan_export.errors import GanExportError
from gan_export.images import levels
from gan_export.recognize.options import ReadOptions
from gan_export.sampling.apply import ImageGenerator, open_image_generator
from gan_export.sampling.apply_files import ApplyOptions, apply_to_files
from gan_export.sampling.image_files import Reading, read
from tests.originals import ORIGINALS
from tests.originals.images_in import ORIGINALS_BY_NAME, JunyanzResnet, Srvgg, image_reading, randomized

Bytes = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("srvgg") / "realesr.pth"
    torch.save(ORIGINALS_BY_NAME["SRVGGNetCompact x2"].model(8).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("resnet") / "latest_net_G.pth"
    torch.save(ORIGINALS_BY_NAME["resnet_6blocks batch"].model(4).state_dict(), path)
    return path


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def opened(path: Path, generator: ImageGenerator) -> Bytes:
    return generator.apply(read(path, Reading(generator.channels[0])).pixels[None])[0]


def test_bytes_go_through_as_the_scripts_scale_them(translator: Path) -> None:
    model = ORIGINALS_BY_NAME["resnet_6blocks batch"].model(4)
    image = noise(24, 36)
    x = torch.from_numpy(image.transpose(2, 0, 1)[None] / np.float32(127.5) - np.float32(1))
    want = levels(image_reading(model, x).numpy()).transpose(0, 2, 3, 1)
    with open_image_generator(translator) as generator:
        got = generator.apply(image[None])
    assert got.shape == (1, 24, 36, 3)
    assert np.abs(got.astype(int) - want).max() <= 1
    assert (got != want).mean() < 1e-3


def test_an_image_of_another_size_is_padded_and_cropped_back(translator: Path) -> None:
    image = noise(21, 30)
    with open_image_generator(translator) as generator:
        got = generator.apply(image[None])[0]
        padded = np.pad(image, ((0, 3), (0, 2), (0, 0)), mode="reflect")
        np.testing.assert_array_equal(got, generator.apply(padded[None])[0][:21, :30])
        assert generator.apply(noise(1, 3)[None]).shape == (1, 1, 3, 3)
    with (
        open_image_generator(translator, pad=False) as generator,
        pytest.raises(GanExportError, match="30 x 21: the generator takes multiples of 4 from 16"),
    ):
        generator.apply(image[None])


def test_images_are_independent_of_their_batch(upscaler: Path) -> None:
    images = np.stack([noise(9, 11, seed=i) for i in range(3)])
    with open_image_generator(upscaler) as generator:
        together = generator.apply(images)
        assert together.shape == (3, 18, 22, 3)
        np.testing.assert_array_equal(together[2], generator.apply(images[2:])[0])


def test_dropout_by_seed_depends_on_seed_and_index(tmp_path: Path) -> None:
    torch.save(randomized(JunyanzResnet(4, 6, dropout=True)).state_dict(), tmp_path / "g.pth")
    images = np.stack([noise(16, 16)] * 2)
    options = ReadOptions(dropout="seed")
    with open_image_generator(tmp_path / "g.pth", options, seed=3) as generator:
        made = generator.apply(images)
        again = generator.apply(images[1:], start=1)
    with open_image_generator(tmp_path / "g.pth", options, seed=4) as generator:
        other = generator.apply(images)
    assert (made[0] != made[1]).mean() > 0.1
    np.testing.assert_array_equal(made[1], again[0])
    assert (made[0] != other[0]).mean() > 0.1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_files_of_any_mode_are_read(mode: str, tmp_path: Path, upscaler: Path) -> None:
    rgb = Image.fromarray(noise(12, 10))
    image = Image.fromarray(noise(12, 10, 1)[:, :, 0].astype(np.uint16) * 257) if mode == "I;16" else rgb.convert(mode)
    path = tmp_path / ("in.tif" if mode in ("CMYK", "YCbCr") else "in.png")
    image.save(path)
    with open_image_generator(upscaler) as generator:
        apply_to_files(generator, path, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as made:
        assert made.size == (20, 24)
        assert made.mode == ("RGBA" if mode in ("LA", "RGBA") else "RGB")


def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path) -> None:
    gray = noise(6, 5, 1)[:, :, 0]
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "in.png")
    np.testing.assert_array_equal(read(tmp_path / "in.png", Reading(1, bits=8)).pixels[:, :, 0], gray)


def test_exif_orientation_alpha_and_profile_are_kept(tmp_path: Path, upscaler: Path) -> None:
    image = Image.fromarray(noise(12, 20, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    image.save(tmp_path / "in.png", exif=exif, icc_profile=b"a profile")
    with open_image_generator(upscaler) as generator:
        apply_to_files(generator, tmp_path / "in.png", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as made:
        assert made.size == (24, 40)
        assert made.mode == "RGBA"
        assert made.info["icc_profile"] == b"a profile"
        alpha = np.asarray(made.getchannel("A"))
    turned = image.getchannel("A").transpose(Image.Transpose.ROTATE_270).resize((24, 40), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(alpha, np.asarray(turned))


def test_a_folder_goes_to_a_folder_and_what_cannot_be_read_is_named(tmp_path: Path, upscaler: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a.png", "a.jpg", "b.webp"):
        Image.fromarray(noise(8, 8)).save(source / name)
    (source / "broken.png").write_bytes(b"no image")
    (source / "notes.txt").write_text("not an image either")
    frames = [Image.fromarray(noise(8, 8, seed=i)) for i in range(3)]
    frames[0].save(source / "film.gif", save_all=True, append_images=frames[1:])
    with open_image_generator(upscaler) as generator:
        done = apply_to_files(generator, source, target)
        assert sorted(p.name for p in target.iterdir()) == ["a.jpg.png", "a.png.png", "b.png"]
        assert done.written == 3
        assert [s.split(": ")[0].split(" can't")[0] for s in done.skipped] == [
            str(source / "broken.png"), str(source / "film.gif"),
        ]  # fmt: skip
        assert "an animation of 3 frames" in done.skipped[1]
        with pytest.raises(GanExportError, match=r"broken\.png can't be read as an image"):
            apply_to_files(generator, source, target, ApplyOptions(fail_on_unreadable=True))
        assert apply_to_files(generator, source, target, ApplyOptions(resume=True)).there == 3


def test_halves_and_sizes(tmp_path: Path, upscaler: Path) -> None:
    both = noise(10, 16)
    Image.fromarray(both).save(tmp_path / "pair.png")
    np.testing.assert_array_equal(read(tmp_path / "pair.png", Reading(3, side="right")).pixels, both[:, 8:])
    np.testing.assert_array_equal(read(tmp_path / "pair.png", Reading(3, side="left")).pixels, both[:, :8])
    assert read(tmp_path / "pair.png", Reading(3, resize=(5, 7))).pixels.shape == (5, 7, 3)


def test_bad_inputs_are_refused(tmp_path: Path, upscaler: Path) -> None:
    Image.fromarray(noise(8, 8)).save(tmp_path / "in.png")
    Image.new("1", (30, 30)).save(tmp_path / "huge.png")
    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    content = (tmp_path / "huge.png").read_bytes()
    (tmp_path / "huge.png").write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
    (tmp_path / "empty").mkdir()
    with open_image_generator(upscaler) as generator:
        for source, target, why in (
            ("in.png", "in.png", r"is the input; name another output"),
            ("empty", "out", "holds no images"),
            ("absent.png", "out.png", "no such file"),
            ("huge.png", "out.png", "need more than max_memory=4,096M"),
            ("in.png", "out.xyz", "name a file that ends in"),
        ):
            with pytest.raises(GanExportError, match=why):
                apply_to_files(generator, tmp_path / source, tmp_path / target)
        with pytest.raises(GanExportError, match=r"uint8 or uint16 \(N, H, W, 3\) are needed"):
            generator.apply(noise(8, 8, 1)[None])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "huge.png", "in.png"]


def test_a_generator_that_takes_a_latent_is_refused_by_name(tmp_path: Path) -> None:
    original = ORIGINALS[0]
    path = original.save(original.model(original.other_width), tmp_path / "g.pth")
    with (
        pytest.raises(GanExportError, match="takes z; apply needs one that takes one image"),
        open_image_generator(path),
    ):
        pass


def test_gray_in_and_out(tmp_path: Path) -> None:
    torch.save(randomized(Srvgg(8, 2, 2, channels=1)).state_dict(), tmp_path / "g.pth")
    Image.fromarray(noise(8, 8)).save(tmp_path / "in.jpg")
    with open_image_generator(tmp_path / "g.pth") as generator:
        apply_to_files(generator, tmp_path / "in.jpg", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as made:
        assert (made.mode, made.size) == ("L", (16, 16))
