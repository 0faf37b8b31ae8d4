"""Results of gan-sample apply in files: 16 bits per channel, other scales, before and after side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from gan_export.errors import GanExportError
from gan_export.sampling import deep_png, image_files
from gan_export.sampling.apply import open_image_generator
from gan_export.sampling.apply_files import ApplyOptions, apply_to_files
from gan_export.sampling.image_files import Reading
from tests.conftest import Command, refused
from tests.originals.images_in import Srvgg, image_reading, randomized

Words = npt.NDArray[np.uint16]


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("srvgg") / "realesr.pth"
    torch.save(randomized(Srvgg(4, 1, 2)).state_dict(), path)
    return path


def words(height: int, width: int, channels: int) -> Words:
    return np.random.default_rng(channels).integers(0, 65536, (height, width, channels), np.uint16)


def as_read(path: Path, channels: int, **how: object) -> image_files.Picture:
    return image_files.read(path, Reading(channels, **how))  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_are_written_and_read_back(channels: int, tmp_path: Path) -> None:
    if channels > 1:
        pytest.importorskip("imagecodecs")
    want = words(6, 9, channels)
    (tmp_path / "a.png").write_bytes(deep_png.encode(want, b"a profile"))
    picture = as_read(tmp_path / "a.png", 1 if channels < 3 else 3)
    colors = want[:, :, : 1 if channels < 3 else 3]
    np.testing.assert_array_equal(picture.pixels, colors)
    assert picture.profile == b"a profile"
    if channels in (2, 4):
        np.testing.assert_array_equal(picture.alpha, want[:, :, -1])
    with Image.open(tmp_path / "a.png") as by_pillow:  # another reader, of the high bytes or of gray
        assert by_pillow.size == (9, 6)
        assert by_pillow.info["icc_profile"] == b"a profile"
        if channels == 3:
            np.testing.assert_array_equal(np.asarray(by_pillow), want >> 8)
    np.testing.assert_array_equal(
        as_read(tmp_path / "a.png", 3, bits=8).pixels[:, :, 0].astype(int) - colors[:, :, 0] // 257 < 2, True
    )


def test_exif_turns_sixteen_bits_as_it_turns_eight(tmp_path: Path) -> None:
    gray = words(4, 6, 1)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(gray[:, :, 0]).save(tmp_path / "deep.png", exif=exif)
        Image.fromarray((gray[:, :, 0] >> 8).astype(np.uint8)).save(tmp_path / "flat.png", exif=exif)
        deep, flat = as_read(tmp_path / "deep.png", 1), as_read(tmp_path / "flat.png", 1)
        np.testing.assert_array_equal(deep.pixels >> 8, flat.pixels)


def test_sixteen_bits_go_through_with_their_precision(upscaler: Path, tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    deep = words(8, 10, 4)
    (tmp_path / "in.png").write_bytes(deep_png.encode(deep, b"a profile"))
    x = torch.from_numpy(deep[:, :, :3].transpose(2, 0, 1)[None].astype(np.float32) / 65535)
    made = image_reading(randomized(Srvgg(4, 1, 2)), x).numpy()[0].transpose(1, 2, 0)
    with open_image_generator(upscaler) as generator:
        apply_to_files(generator, tmp_path / "in.png", tmp_path / "out.png")
        apply_to_files(generator, tmp_path / "in.png", tmp_path / "flat.png", ApplyOptions(bits=8))
        apply_to_files(generator, tmp_path / "in.png", tmp_path / "flat.jpg")
    picture = as_read(tmp_path / "out.png", 3)
    assert picture.pixels.dtype == np.uint16
    assert picture.profile == b"a profile"
    np.testing.assert_allclose(picture.pixels, np.clip(made, 0, 1) * 65535, rtol=0, atol=2)
    assert picture.alpha is not None
    want = image_files.resized(deep[:, :, 3:], (16, 20))[:, :, 0]
    np.testing.assert_array_equal(picture.alpha, want)
    assert as_read(tmp_path / "flat.png", 3).pixels.dtype == np.uint8
    assert as_read(tmp_path / "flat.jpg", 3).pixels.shape == (16, 20, 3)


def test_eight_bits_can_give_sixteen(upscaler: Path, tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    Image.fromarray((words(8, 10, 3) >> 8).astype(np.uint8)).save(tmp_path / "in.jpg")
    with open_image_generator(upscaler) as generator:
        for bits in (8, 16):
            apply_to_files(generator, tmp_path / "in.jpg", tmp_path / f"{bits}.png", ApplyOptions(bits=bits))
    flat, deep = (as_read(tmp_path / f"{bits}.png", 3).pixels for bits in (8, 16))
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - flat).max() <= 1


def test_damaged_sixteen_bits_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    content = deep_png.encode(words(40, 40, 3), b"")
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(GanExportError, match=r"cut\.png: its 16-bit PNG is damaged|cut\.png can't be read"):
        as_read(tmp_path / "cut.png", 3)


@pytest.mark.parametrize("outscale", [0.5, 3.0])
def test_a_result_is_scaled_to_a_multiple_of_its_image(outscale: float, upscaler: Path, tmp_path: Path) -> None:
    Image.fromarray((words(9, 14, 4) >> 8).astype(np.uint8)).save(tmp_path / "in.png")
    with open_image_generator(upscaler) as generator:
        apply_to_files(generator, tmp_path / "in.png", tmp_path / "full.png")
        apply_to_files(generator, tmp_path / "in.png", tmp_path / "out.png", ApplyOptions(outscale=outscale))
    size = (int(14 * outscale), int(9 * outscale))
    with Image.open(tmp_path / "full.png") as full, Image.open(tmp_path / "out.png") as made:
        assert made.size == size
        want = full.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(np.asarray(made.convert("RGB")), np.asarray(want))
        assert made.mode == "RGBA"


def test_before_and_after_stand_side_by_side(upscaler: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for i, name in enumerate(("a.png", "b.jpg", "c.png")):
        Image.fromarray((words(20, 30 + 4 * i, 3) >> 8).astype(np.uint8)).save(source / name)
    (source / "broken.png").write_bytes(b"no image")
    options = ApplyOptions(side_by_side=True, resume=True)
    with open_image_generator(upscaler) as generator:
        done = apply_to_files(generator, source, target, options)
        assert (done.written, done.shown) == (3, 3)
        with Image.open(target / "side-by-side" / "a.png") as pair, Image.open(target / "a.png") as made:
            assert pair.size == (2 * 60 + 4, 40)
            np.testing.assert_array_equal(np.asarray(pair)[:, 64:], np.asarray(made))
            with Image.open(source / "a.png") as before:
                enlarged = before.resize((60, 40), Image.Resampling.BICUBIC)
            np.testing.assert_array_equal(np.asarray(pair)[:, :60], np.asarray(enlarged))
        with Image.open(target / "side-by-side.png") as sheet:
            assert sheet.size == (3 * 372 + 12, 270 + 12)
        (target / "side-by-side" / "b.png").unlink()
        again = apply_to_files(generator, source, target, options)
        assert (again.written, again.there, again.shown) == (1, 2, 3)
        apply_to_files(generator, source / "a.png", tmp_path / "one.png", options)
        assert (tmp_path / "one.side-by-side.png").is_file()
        Image.new("RGB", (8, 8)).save(source / "side-by-side.png")
        with pytest.raises(GanExportError, match="the folder holds an image side-by-side"):
            apply_to_files(generator, source, target, options)


def test_wrong_flags_are_refused(upscaler: Path, tmp_path: Path, command: Command) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "in.png")
    for flags, why in (
        (("--outscale", "0"), "outscale 0.0: must be above 0"),
        (("--outscale", "nan"), "outscale nan: must be above 0"),
        (("--bits", "12"), "bits 12: must be 8 or 16"),
    ):
        why_not = refused(
            command("gan-sample", "apply", upscaler, tmp_path / "in.png", "-o", tmp_path / "o.png", *flags)
        )
        assert why in why_not
    assert not (tmp_path / "o.png").exists()
